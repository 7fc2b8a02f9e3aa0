-- +goose Up
-- Just-in-time access. Times are microseconds since 1970, UTC; doc columns hold
-- JSON; where a column repeats a member of the document the column counts. A row
-- is changed only at the rev that was read, but for the counts of grants.

CREATE TABLE entitlements (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE tasks (
    id    TEXT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'expired')),
    rev   INTEGER NOT NULL,
    doc   TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_agent ON tasks (agent, id);
CREATE INDEX tasks_live ON tasks (id) WHERE state = 'open';

-- identity is what makes two asks the same one; only one of them is pending.
CREATE TABLE requests (
    id        TEXT NOT NULL PRIMARY KEY,
    identity  BLOB NOT NULL,
    agent     TEXT NOT NULL,
    task      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'issued', 'denied', 'expired', 'withdrawn', 'invalidated', 'superseded')),
    arguments BLOB,
    rev       INTEGER NOT NULL,
    doc       TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX requests_pending ON requests (identity) WHERE state = 'pending';
CREATE INDEX requests_agent ON requests (agent, id);

CREATE TABLE grants (
    id            TEXT NOT NULL PRIMARY KEY,
    agent         TEXT NOT NULL,
    task          TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'exhausted', 'expired', 'completed', 'revoked')),
    not_before    INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    uses_max      INTEGER NOT NULL CHECK (uses_max >= 0),
    uses_spent    INTEGER NOT NULL DEFAULT 0 CHECK (uses_spent >= 0),
    uses_reserved INTEGER NOT NULL DEFAULT 0 CHECK (uses_reserved >= 0),
    seq           INTEGER NOT NULL DEFAULT 0,
    rev           INTEGER NOT NULL,
    doc           TEXT NOT NULL
) STRICT;
CREATE INDEX grants_agent ON grants (agent, id);
CREATE INDEX grants_live ON grants (id) WHERE state IN ('active', 'suspended');

CREATE TABLE grant_uses (
    id       TEXT NOT NULL PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants (id),
    decision TEXT NOT NULL UNIQUE,
    state    TEXT NOT NULL CHECK (state IN ('reserved', 'committed', 'released', 'unknown')),
    node     TEXT NOT NULL,
    boot     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    ended    INTEGER
) STRICT;
CREATE INDEX grant_uses_grant ON grant_uses (grant_id, id);
CREATE INDEX grant_uses_open ON grant_uses (node) WHERE state = 'reserved';
