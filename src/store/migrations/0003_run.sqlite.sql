-- A run may be waiting: it has no start yet. SQLite cannot drop NOT NULL from a column, so the table is made anew.
CREATE TABLE run_new (
    id           TEXT PRIMARY KEY,
    audience     TEXT NOT NULL,
    as_of        TEXT NOT NULL,
    started_at   TEXT,
    finished_at  TEXT,
    state        TEXT NOT NULL,          -- queued | running | done | pending | partial | failed | cancelled
    segment      TEXT,                   -- JSON: the funnel
    error        TEXT
);
INSERT INTO run_new SELECT id, audience, as_of, started_at, finished_at, state, segment, error FROM run;
DROP TABLE run;
ALTER TABLE run_new RENAME TO run;
