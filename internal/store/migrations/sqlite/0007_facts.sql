-- +goose Up
-- What policies read of the past. Times are microseconds since 1970, UTC; doc
-- columns hold JSON; buckets are seconds since 1970.

CREATE TABLE facts (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

-- One row for each step of time and, where a fact counts what is distinct, each
-- value of it, as a keyed digest. Bucket -1 counts nothing: who changes a counter
-- locks it first.
CREATE TABLE fact_counters (
    fact     TEXT NOT NULL,
    key      TEXT NOT NULL,
    bucket   INTEGER NOT NULL,
    value    BLOB NOT NULL,
    spent    INTEGER NOT NULL CHECK (spent >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    ends     INTEGER NOT NULL,
    PRIMARY KEY (fact, key, bucket, value)
) STRICT;
CREATE INDEX fact_counters_ends ON fact_counters (ends);

-- What a call that has not ended holds of a counter. use_id is a use of a grant
-- where the call has one.
CREATE TABLE fact_uses (
    use_id TEXT NOT NULL,
    fact   TEXT NOT NULL,
    key    TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    value  BLOB NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    node   TEXT NOT NULL,
    boot   TEXT NOT NULL,
    PRIMARY KEY (use_id, fact)
) STRICT;
CREATE INDEX fact_uses_node ON fact_uses (node);

CREATE TABLE fact_marks (
    fact   TEXT NOT NULL,
    digest BLOB NOT NULL,
    key    TEXT NOT NULL,
    at     INTEGER NOT NULL,
    ends   INTEGER NOT NULL,
    PRIMARY KEY (fact, digest)
) STRICT;
CREATE INDEX fact_marks_ends ON fact_marks (ends);

CREATE TABLE fact_secret (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    sealed BLOB NOT NULL
) STRICT;
