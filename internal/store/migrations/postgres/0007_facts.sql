-- +goose Up
-- What policies read of the past. Times are microseconds since 1970, UTC; doc
-- columns hold JSON; buckets are seconds since 1970.

CREATE TABLE facts (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

-- One row for each step of time and, where a fact counts what is distinct, each
-- value of it, as a keyed digest. Bucket -1 counts nothing: who changes a counter
-- locks it first.
CREATE TABLE fact_counters (
    fact     TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    bucket   BIGINT NOT NULL,
    value    BYTEA NOT NULL,
    spent    BIGINT NOT NULL CHECK (spent >= 0),
    reserved BIGINT NOT NULL CHECK (reserved >= 0),
    ends     BIGINT NOT NULL,
    PRIMARY KEY (fact, key, bucket, value)
);
CREATE INDEX fact_counters_ends ON fact_counters (ends);

-- What a call that has not ended holds of a counter. use_id is a use of a grant
-- where the call has one.
CREATE TABLE fact_uses (
    use_id TEXT COLLATE "C" NOT NULL,
    fact   TEXT COLLATE "C" NOT NULL,
    key    TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    value  BYTEA NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    node   TEXT COLLATE "C" NOT NULL,
    boot   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (use_id, fact)
);
CREATE INDEX fact_uses_node ON fact_uses (node);

CREATE TABLE fact_marks (
    fact   TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    key    TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    ends   BIGINT NOT NULL,
    PRIMARY KEY (fact, digest)
);
CREATE INDEX fact_marks_ends ON fact_marks (ends);

CREATE TABLE fact_secret (
    one    BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    sealed BYTEA NOT NULL
);
