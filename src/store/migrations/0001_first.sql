-- What one machine's runs wrote before there was a service. Databases of that time have these tables already.
-- Never an identifier or a digest.
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
    state        TEXT NOT NULL,
    segment      TEXT,
    error        TEXT
);
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
    id           {row_id},
    audience     TEXT NOT NULL,
    destination  TEXT NOT NULL,
    connector    TEXT NOT NULL,
    run_id       TEXT,
    as_of        TEXT NOT NULL,
    sent         BIGINT NOT NULL,
    kind         TEXT NOT NULL,
    low          DOUBLE PRECISION,
    high         DOUBLE PRECISION,
    matched      BIGINT,
    definition   TEXT NOT NULL,
    rules_version BIGINT NOT NULL,
    primary_reading BOOLEAN NOT NULL
);
CREATE INDEX IF NOT EXISTS observation_by_audience ON observation (audience, destination, as_of);
CREATE TABLE IF NOT EXISTS audit (
    id           {row_id},
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
    impressions  BIGINT NOT NULL,
    reach        BIGINT,
    clicks       BIGINT,
    spend        DOUBLE PRECISION,
    orders       BIGINT,
    currency     TEXT,
    PRIMARY KEY (audience, destination, first_day, last_day)
);
