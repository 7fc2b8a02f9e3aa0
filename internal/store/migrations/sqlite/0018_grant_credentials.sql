-- +goose Up
-- Grants that begin later, and grants whose credentials are being ended at their
-- issuers. What was minted under a grant stands here until it has ended; sealed is what
-- its issuer ends it by. Times are microseconds since 1970, UTC; expires of 0 is not
-- known. SQLite cannot change a CHECK, so the tables are made anew.

CREATE TABLE grants_new (
    id              TEXT NOT NULL PRIMARY KEY,
    agent           TEXT NOT NULL,
    task            TEXT NOT NULL,
    parent          TEXT NOT NULL DEFAULT '',
    state           TEXT NOT NULL CHECK (state IN ('scheduled', 'active', 'suspended', 'exhausted', 'expired', 'completed', 'withdrawn', 'revoking', 'revoke_partial', 'revoked')),
    not_before      INTEGER NOT NULL,
    expires         INTEGER NOT NULL,
    uses_max        INTEGER NOT NULL CHECK (uses_max >= 0),
    uses_spent      INTEGER NOT NULL DEFAULT 0 CHECK (uses_spent >= 0),
    uses_reserved   INTEGER NOT NULL DEFAULT 0 CHECK (uses_reserved >= 0),
    uses_carved     INTEGER NOT NULL DEFAULT 0 CHECK (uses_carved >= 0),
    amount_max      INTEGER NOT NULL DEFAULT 0 CHECK (amount_max >= 0),
    amount_spent    INTEGER NOT NULL DEFAULT 0 CHECK (amount_spent >= 0),
    amount_reserved INTEGER NOT NULL DEFAULT 0 CHECK (amount_reserved >= 0),
    amount_carved   INTEGER NOT NULL DEFAULT 0 CHECK (amount_carved >= 0),
    running_max     INTEGER NOT NULL DEFAULT 0 CHECK (running_max >= 0),
    running_carved  INTEGER NOT NULL DEFAULT 0 CHECK (running_carved >= 0),
    window_uses     INTEGER NOT NULL DEFAULT 0 CHECK (window_uses >= 0),
    window_length   INTEGER NOT NULL DEFAULT 0 CHECK (window_length >= 0), -- microseconds
    window_carved   INTEGER NOT NULL DEFAULT 0 CHECK (window_carved >= 0),
    bytes_max       INTEGER NOT NULL DEFAULT 0 CHECK (bytes_max >= 0),
    bytes_spent     INTEGER NOT NULL DEFAULT 0 CHECK (bytes_spent >= 0),
    bytes_carved    INTEGER NOT NULL DEFAULT 0 CHECK (bytes_carved >= 0),
    idle_length     INTEGER NOT NULL DEFAULT 0 CHECK (idle_length >= 0), -- microseconds
    used_at         INTEGER NOT NULL DEFAULT 0,                          -- last; never goes back
    seq             INTEGER NOT NULL DEFAULT 0,
    rev             INTEGER NOT NULL,
    doc             TEXT NOT NULL
) STRICT;
INSERT INTO grants_new (id, agent, task, parent, state, not_before, expires, uses_max, uses_spent, uses_reserved, uses_carved, amount_max, amount_spent, amount_reserved, amount_carved,
        running_max, running_carved, window_uses, window_length, window_carved, bytes_max, bytes_spent, bytes_carved, idle_length, used_at, seq, rev, doc)
    SELECT id, agent, task, parent, state, not_before, expires, uses_max, uses_spent, uses_reserved, uses_carved, amount_max, amount_spent, amount_reserved, amount_carved,
        running_max, running_carved, window_uses, window_length, window_carved, bytes_max, bytes_spent, bytes_carved, idle_length, used_at, seq, rev, doc FROM grants;

CREATE TABLE grant_uses_new (
    id       TEXT NOT NULL PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants_new (id),
    decision TEXT NOT NULL UNIQUE,
    state    TEXT NOT NULL CHECK (state IN ('reserved', 'committed', 'released', 'unknown')),
    node     TEXT NOT NULL,
    boot     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    ended    INTEGER,
    amount   INTEGER NOT NULL DEFAULT 0 CHECK (amount >= 0),
    bytes    INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0)
) STRICT;
INSERT INTO grant_uses_new (id, grant_id, decision, state, node, boot, at, ended, amount, bytes)
    SELECT id, grant_id, decision, state, node, boot, at, ended, amount, bytes FROM grant_uses;

DROP TABLE grant_uses;
DROP TABLE grants;
ALTER TABLE grants_new RENAME TO grants;
ALTER TABLE grant_uses_new RENAME TO grant_uses;
CREATE INDEX grants_agent ON grants (agent, id);
CREATE INDEX grants_live ON grants (id) WHERE state IN ('scheduled', 'active', 'suspended');
CREATE INDEX grants_revoking ON grants (id) WHERE state IN ('revoking', 'revoke_partial');
CREATE INDEX grants_parent ON grants (parent) WHERE parent <> '';
CREATE INDEX grant_uses_grant ON grant_uses (grant_id, id);
CREATE INDEX grant_uses_window ON grant_uses (grant_id, at);
CREATE INDEX grant_uses_open ON grant_uses (node) WHERE state = 'reserved';

CREATE TABLE grant_credentials (
    grant_id   TEXT NOT NULL REFERENCES grants (id),
    credential TEXT NOT NULL,
    version    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    server     TEXT NOT NULL,
    node       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    sealed     BLOB,
    tries      INTEGER NOT NULL DEFAULT 0,
    next       INTEGER NOT NULL DEFAULT 0,
    why        TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (grant_id, credential, version)
) STRICT;
CREATE INDEX grant_credentials_version ON grant_credentials (credential, version);
