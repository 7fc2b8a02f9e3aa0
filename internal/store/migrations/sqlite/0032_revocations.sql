-- +goose Up
-- What was revoked, in the order of commits. target is its id within kind. receipt is
-- JSON, what it came to; done says that what it ends has ended. One row of
-- revocation_head gives the positions, so that a smaller one is never committed later.

CREATE TABLE revocation_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL
);
INSERT INTO revocation_head (one, position) VALUES (1, 0);

CREATE TABLE revocations (
    position INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    kind     TEXT NOT NULL,
    target   TEXT NOT NULL,
    cause    TEXT NOT NULL,
    actor    TEXT NOT NULL,
    node     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    done     INTEGER NOT NULL DEFAULT 0,
    receipt  TEXT NOT NULL DEFAULT ''
);

CREATE INDEX revocations_unfinished ON revocations (position) WHERE receipt = '';

-- Gateways that share the database, when each was heard of by the database's clock,
-- and which revocations each has carried out.

CREATE TABLE nodes (
    id   TEXT PRIMARY KEY,
    beat INTEGER NOT NULL
);

CREATE TABLE revocation_acks (
    id   TEXT NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (id, node)
);
