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
