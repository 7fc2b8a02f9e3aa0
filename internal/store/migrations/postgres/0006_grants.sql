-- +goose Up
-- Just-in-time access. Times are microseconds since 1970, UTC; doc columns hold
-- JSON; where a column repeats a member of the document the column counts. A row
-- is changed only at the rev that was read, but for the counts of grants.

CREATE TABLE entitlements (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

CREATE TABLE tasks (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    agent TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'closed', 'expired')),
    rev   BIGINT NOT NULL,
    doc   TEXT COLLATE "C" NOT NULL
);
CREATE INDEX tasks_agent ON tasks (agent, id);
CREATE INDEX tasks_live ON tasks (id) WHERE state = 'open';

-- identity is what makes two asks the same one; only one of them is pending.
CREATE TABLE requests (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    identity  BYTEA NOT NULL,
    agent     TEXT COLLATE "C" NOT NULL,
    task      TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'issued', 'denied', 'expired', 'withdrawn', 'invalidated', 'superseded')),
    arguments BYTEA,
    rev       BIGINT NOT NULL,
    doc       TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX requests_pending ON requests (identity) WHERE state = 'pending';
CREATE INDEX requests_agent ON requests (agent, id);

CREATE TABLE grants (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    agent         TEXT COLLATE "C" NOT NULL,
    task          TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'suspended', 'exhausted', 'expired', 'completed', 'revoked')),
    not_before    BIGINT NOT NULL,
    expires       BIGINT NOT NULL,
    uses_max      BIGINT NOT NULL CHECK (uses_max >= 0),
    uses_spent    BIGINT NOT NULL DEFAULT 0 CHECK (uses_spent >= 0),
    uses_reserved BIGINT NOT NULL DEFAULT 0 CHECK (uses_reserved >= 0),
    seq           BIGINT NOT NULL DEFAULT 0,
    rev           BIGINT NOT NULL,
    doc           TEXT COLLATE "C" NOT NULL
);
CREATE INDEX grants_agent ON grants (agent, id);
CREATE INDEX grants_live ON grants (id) WHERE state IN ('active', 'suspended');

CREATE TABLE grant_uses (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    grant_id TEXT COLLATE "C" NOT NULL REFERENCES grants (id),
    decision TEXT COLLATE "C" NOT NULL UNIQUE,
    state    TEXT COLLATE "C" NOT NULL CHECK (state IN ('reserved', 'committed', 'released', 'unknown')),
    node     TEXT COLLATE "C" NOT NULL,
    boot     TEXT COLLATE "C" NOT NULL,
    at       BIGINT NOT NULL,
    ended    BIGINT
);
CREATE INDEX grant_uses_grant ON grant_uses (grant_id, id);
CREATE INDEX grant_uses_open ON grant_uses (node) WHERE state = 'reserved';
