-- What own experiments came to, read when their windows had ended; projections learn the lift from them.
CREATE TABLE experiment (
    audience        TEXT NOT NULL,
    salts           TEXT NOT NULL,          -- of the draws, joined by a space: another salt is another experiment
    as_of           TEXT NOT NULL,
    window_days     BIGINT NOT NULL,
    first_day       TEXT NOT NULL,
    last_day        TEXT NOT NULL,
    treated         BIGINT NOT NULL,
    treated_buyers  BIGINT NOT NULL,
    holdout         BIGINT NOT NULL,
    holdout_buyers  BIGINT NOT NULL,
    reached_share   DOUBLE PRECISION NOT NULL,   -- of the treated: who saw an ad
    reached_source  TEXT NOT NULL,
    PRIMARY KEY (audience, salts)
);
