-- +goose Up
-- Times are microseconds since 1970, UTC. doc columns hold JSON; where a column
-- repeats a member of the document the column counts.

CREATE TABLE generation (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO generation (one, value) VALUES (1, 0);

CREATE TABLE teams (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE agents (
    id    TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'quarantined', 'retired')),
    doc   TEXT NOT NULL
) STRICT;

CREATE TABLE servers (
    id    TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('discovered', 'triaged', 'sanctioned', 'deprecated', 'quarantined', 'blocked', 'retired')),
    doc   TEXT NOT NULL
) STRICT;

-- A name can be longer than an index of PostgreSQL may hold: its SHA-256 is the key.
CREATE TABLE tools (
    server    TEXT NOT NULL REFERENCES servers (id) DEFERRABLE INITIALLY DEFERRED,
    name_hash BLOB NOT NULL,
    name      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'changed', 'absent', 'quarantined', 'blocked', 'retired')),
    pinned    BLOB,
    seen      BLOB,
    doc       TEXT NOT NULL,
    PRIMARY KEY (server, name_hash)
) STRICT;

CREATE TABLE policies (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    id      TEXT NOT NULL PRIMARY KEY,
    alg     TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    created INTEGER NOT NULL,
    retired INTEGER
) STRICT;

CREATE TABLE families (
    id       TEXT NOT NULL PRIMARY KEY,
    parent   TEXT NOT NULL,
    agent    TEXT NOT NULL,
    subject  TEXT NOT NULL,
    proof    TEXT NOT NULL,
    source   TEXT NOT NULL,
    task     TEXT NOT NULL,
    opened   INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    absolute INTEGER NOT NULL
) STRICT;
CREATE INDEX families_agent ON families (agent);
CREATE INDEX families_absolute ON families (absolute);

-- The newest family of each (agent, subject, proof, task), by their SHA-256.
CREATE TABLE family_heads (
    digest BLOB NOT NULL PRIMARY KEY,
    family TEXT NOT NULL
) STRICT;
CREATE INDEX family_heads_family ON family_heads (family);

-- Client assertions that were accepted, by the SHA-256 of (issuer, jti).
CREATE TABLE assertions (
    digest  BLOB NOT NULL PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX assertions_expires ON assertions (expires);

CREATE TABLE secrets (
    id      TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    sealed  BLOB NOT NULL,
    doc     TEXT NOT NULL
) STRICT;

CREATE TABLE evidence_keys (
    name    TEXT NOT NULL PRIMARY KEY,
    wrapped BLOB NOT NULL
) STRICT;
