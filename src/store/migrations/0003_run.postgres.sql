-- A run may be waiting: it has no start yet.
ALTER TABLE run ALTER COLUMN started_at DROP NOT NULL;
