-- What a service needs that runs on its own, on one machine or several.
ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT 'sync';            -- sync | full | refresh
ALTER TABLE run ADD COLUMN requested_at TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN requested_by TEXT NOT NULL DEFAULT 'unknown';
ALTER TABLE run ADD COLUMN options TEXT NOT NULL DEFAULT '{}';           -- JSON: what it was asked to do
ALTER TABLE run ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1;            -- how many replicas have taken it up
ALTER TABLE run ADD COLUMN cancel_requested BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE run ADD COLUMN outcome TEXT;                                 -- JSON: the report
ALTER TABLE run ADD COLUMN last_event BIGINT NOT NULL DEFAULT 0;         -- number of its newest event
UPDATE run SET requested_at = started_at;
CREATE INDEX run_by_time ON run (requested_at, id);
CREATE INDEX run_by_audience_and_time ON run (audience, requested_at, id);

CREATE TABLE run_event (
    run_id       TEXT NOT NULL REFERENCES run (id),
    seq          BIGINT NOT NULL,
    at           TEXT NOT NULL,
    kind         TEXT NOT NULL,
    body         TEXT NOT NULL,          -- JSON
    PRIMARY KEY (run_id, seq)
);

-- Work to do and being done. `fence` grows with every taking; whoever holds an older one may not write any more.
CREATE TABLE job (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    audience     TEXT,
    destination  TEXT,                   -- absent: all of the audience's
    run_id       TEXT REFERENCES run (id),
    payload      TEXT NOT NULL,          -- JSON
    dedup_key    TEXT,
    created_at   TEXT NOT NULL,
    run_at       TEXT NOT NULL,
    priority     BIGINT NOT NULL,        -- higher first
    state        TEXT NOT NULL,          -- queued | running | done | failed | cancelled
    attempts     BIGINT NOT NULL DEFAULT 0,
    lease_owner  TEXT,
    lease_until  TEXT,
    fence        BIGINT NOT NULL DEFAULT 0,
    finished_at  TEXT,
    result       TEXT,                   -- JSON
    error        TEXT
);
CREATE UNIQUE INDEX job_open ON job (dedup_key) WHERE state IN ('queued', 'running');
CREATE UNIQUE INDEX job_of_audience ON job (audience) WHERE state = 'running' AND destination IS NULL;
CREATE UNIQUE INDEX job_of_destination ON job (audience, destination) WHERE state = 'running';
CREATE INDEX job_by_turn ON job (priority, run_at, id) WHERE state IN ('queued', 'running');
CREATE INDEX job_by_run ON job (run_id);
-- The destinations a job keeps busy.
CREATE TABLE job_destination (
    job_id       TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    destination  TEXT NOT NULL,
    PRIMARY KEY (job_id, destination)
);

CREATE TABLE schedule (
    key          TEXT PRIMARY KEY,
    paused       BOOLEAN NOT NULL DEFAULT FALSE,
    next_at      TEXT,
    last_fired_at TEXT
);

CREATE TABLE api_token (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    audiences    TEXT,                   -- JSON list; absent: all
    hash         TEXT NOT NULL UNIQUE,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT,
    revoked_at   TEXT
);

CREATE TABLE secret (
    name         TEXT PRIMARY KEY,
    sealed       {bytes} NOT NULL,
    key_id       TEXT NOT NULL,
    version      BIGINT NOT NULL,        -- grows with every change
    updated_at   TEXT NOT NULL,
    meta         TEXT NOT NULL           -- JSON; nothing secret
);

ALTER TABLE audit ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN prev_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_by_action ON audit (action, id);
CREATE INDEX audit_by_actor ON audit (actor, id);
-- The newest entry: what is cut off the end is missed, and appending waits for its turn here.
CREATE TABLE audit_head (
    one          BIGINT PRIMARY KEY CHECK (one = 1),
    id           BIGINT NOT NULL,
    hash         TEXT NOT NULL
);
INSERT INTO audit_head (one, id, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Who must never be sent again, as a hash that only the holder of the key can make.
CREATE TABLE suppression (
    key          {bytes} PRIMARY KEY,
    at           TEXT NOT NULL,
    request_id   TEXT NOT NULL
);
CREATE TABLE forget_request (
    id           TEXT PRIMARY KEY,
    reference    TEXT,
    requested_at TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    state        TEXT NOT NULL,
    detail       TEXT NOT NULL           -- JSON; nothing personal
);
CREATE INDEX forget_request_by_time ON forget_request (requested_at, id);
CREATE TABLE forget_target (
    request_id   TEXT NOT NULL REFERENCES forget_request (id),
    audience     TEXT NOT NULL,
    destination  TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    receipt      TEXT,                   -- JSON
    PRIMARY KEY (request_id, audience, destination)
);

CREATE TABLE idempotency (
    caller       TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status       BIGINT,                 -- absent: being answered
    body         TEXT,
    created_at   TEXT NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE TABLE alert_state (
    key          TEXT PRIMARY KEY,
    state        TEXT NOT NULL,
    since        TEXT NOT NULL,
    last_sent_at TEXT
);
CREATE TABLE destination_health (
    destination  TEXT PRIMARY KEY,
    state        TEXT NOT NULL,          -- ok | degraded | down | unknown
    checked_at   TEXT NOT NULL,
    detail       TEXT NOT NULL           -- JSON
);
