-- State of Réveil: what ran, what it said, where the audiences are. Never an identifier or a digest.
CREATE TABLE IF NOT EXISTS audience (
    audience     TEXT NOT NULL,
    destination  TEXT NOT NULL,
    platform_id  TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    PRIMARY KEY (audience, destination)
);
CREATE TABLE IF NOT EXISTS run (
    id           TEXT PRIMARY KEY,
    audience     TEXT NOT NULL,
    as_of        TEXT NOT NULL,
    started_at   TEXT NOT NULL,
    finished_at  TEXT,
    state        TEXT NOT NULL,          -- running | done | pending | partial | failed
    segment      TEXT,                   -- JSON: the funnel
    error        TEXT
);
CREATE INDEX IF NOT EXISTS run_by_audience ON run (audience, started_at DESC);
CREATE TABLE IF NOT EXISTS run_destination (
    run_id       TEXT NOT NULL REFERENCES run (id),
    destination  TEXT NOT NULL,
    connector    TEXT NOT NULL,
    state        TEXT NOT NULL,
    counts       TEXT NOT NULL,          -- JSON
    upload       TEXT NOT NULL,          -- JSON: what `observe` needs later
    error        TEXT,
    PRIMARY KEY (run_id, destination)
);
CREATE TABLE IF NOT EXISTS observation (
    id           INTEGER PRIMARY KEY,
    audience     TEXT NOT NULL,
    destination  TEXT NOT NULL,
    connector    TEXT NOT NULL,
    run_id       TEXT,
    as_of        TEXT NOT NULL,
    sent         INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    low          REAL,
    high         REAL,
    matched      INTEGER,
    definition   TEXT NOT NULL,
    rules_version INTEGER NOT NULL,
    primary_reading INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS observation_by_audience ON observation (audience, destination, as_of);
CREATE TABLE IF NOT EXISTS audit (
    id           INTEGER PRIMARY KEY,
    at           TEXT NOT NULL,
    actor        TEXT NOT NULL,
    action       TEXT NOT NULL,
    detail       TEXT NOT NULL
);
-- What a platform says was delivered in a flight; given by file.
CREATE TABLE IF NOT EXISTS delivery (
    audience     TEXT NOT NULL,
    destination  TEXT NOT NULL,
    first_day    TEXT NOT NULL,          -- date
    last_day     TEXT NOT NULL,          -- date, included
    impressions  INTEGER NOT NULL,
    reach        INTEGER,
    clicks       INTEGER,
    spend        REAL,
    orders       INTEGER,
    currency     TEXT,
    PRIMARY KEY (audience, destination, first_day, last_day)
);

INSERT INTO audience VALUES ('dormant', 'meta', '23850000001', '2026-03-01T05:00:01+00:00');
INSERT INTO run VALUES ('r1', 'dormant', '2026-03-01T00:00:00+00:00', '2026-03-01T05:00:00+00:00',
    '2026-03-01T05:01:02.345678901+00:00', 'done', '{"rows":5}', NULL);
INSERT INTO run VALUES ('r2', 'dormant', '2026-03-01T00:00:00+00:00', '2026-03-01T05:00:00.500+00:00',
    '2026-03-01T05:01:02.345678+00:00', 'partial', NULL, 'meta: no');
INSERT INTO run VALUES ('r3', 'vip', '2026-03-02T00:00:00+00:00', '2026-03-02T05:00:00.000000001+00:00', NULL, 'running',
    NULL, NULL);
INSERT INTO run_destination VALUES ('r1', 'google', 'google', 'pending', '{"sent":5}', '{"batches":[]}', NULL);
INSERT INTO run_destination VALUES ('r1', 'meta', 'meta', 'done', '{"sent":5}', '{}', NULL);
INSERT INTO observation (audience, destination, connector, run_id, as_of, sent, kind, low, high, matched, definition,
    rules_version, primary_reading) VALUES
    ('dormant', 'google', 'google', 'r1', '2026-03-01T05:01:00.1+00:00', 5, 'bucket', 0.25, 0.5, NULL, 'd', 2, 1),
    ('dormant', 'meta', 'meta', 'r1', '2026-03-01T05:01:00.123+00:00', 5, 'count', NULL, NULL, 3, 'd', 2, 0);
INSERT INTO audit VALUES (1, '2026-03-01T05:00:00+00:00', 'bo', 'override_guard', '{"run":"r1","override":"shrink"}');
INSERT INTO audit VALUES (4, '2026-03-01T06:00:00+00:00', 'bo', 'reset_audience', '{"audience":"vip"}');
INSERT INTO delivery VALUES ('dormant', 'meta', '2026-03-01', '2026-03-07', 100, NULL, NULL, 12.5, NULL, 'EUR');
