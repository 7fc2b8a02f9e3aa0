-- +goose Up
-- What was revoked, in the order of commits. target is its id within kind. receipt is
-- JSON, what it came to; done says that what it ends has ended. One row of
-- revocation_head gives the positions, so that a smaller one is never committed later.

CREATE TABLE revocation_head (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL
);
INSERT INTO revocation_head (one, position) VALUES (1, 0);

CREATE TABLE revocations (
    position BIGINT PRIMARY KEY,
    id       TEXT COLLATE "C" NOT NULL UNIQUE,
    kind     TEXT COLLATE "C" NOT NULL,
    target   TEXT COLLATE "C" NOT NULL,
    cause    TEXT COLLATE "C" NOT NULL,
    actor    TEXT COLLATE "C" NOT NULL,
    node     TEXT COLLATE "C" NOT NULL,
    at       BIGINT NOT NULL,
    done     BIGINT NOT NULL DEFAULT 0,
    receipt  TEXT COLLATE "C" NOT NULL DEFAULT ''
);

CREATE INDEX revocations_unfinished ON revocations (position) WHERE receipt = '';

-- Gateways that share the database, when each was heard of by the database's clock,
-- and which revocations each has carried out.

CREATE TABLE nodes (
    id   TEXT COLLATE "C" PRIMARY KEY,
    beat BIGINT NOT NULL
);

CREATE TABLE revocation_acks (
    id   TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id, node)
);
