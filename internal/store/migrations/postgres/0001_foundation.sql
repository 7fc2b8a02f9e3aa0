-- +goose Up
-- Times are microseconds since 1970, UTC. doc columns hold JSON; where a column
-- repeats a member of the document the column counts.

CREATE TABLE generation (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    value BIGINT NOT NULL
);
INSERT INTO generation (one, value) VALUES (1, 0);

CREATE TABLE teams (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

CREATE TABLE agents (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'suspended', 'quarantined', 'retired')),
    doc   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE servers (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('discovered', 'triaged', 'sanctioned', 'deprecated', 'quarantined', 'blocked', 'retired')),
    doc   TEXT COLLATE "C" NOT NULL
);

-- A name can be longer than an index may hold: its SHA-256 is the key.
CREATE TABLE tools (
    server    TEXT COLLATE "C" NOT NULL REFERENCES servers (id) DEFERRABLE INITIALLY DEFERRED,
    name_hash BYTEA NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'changed', 'absent', 'quarantined', 'blocked', 'retired')),
    pinned    BYTEA,
    seen      BYTEA,
    doc       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (server, name_hash)
);

CREATE TABLE policies (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

CREATE TABLE meta (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE signing_keys (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    alg     TEXT COLLATE "C" NOT NULL,
    sealed  BYTEA NOT NULL,
    created BIGINT NOT NULL,
    retired BIGINT
);

CREATE TABLE families (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    parent   TEXT COLLATE "C" NOT NULL,
    agent    TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    proof    TEXT COLLATE "C" NOT NULL,
    source   TEXT COLLATE "C" NOT NULL,
    task     TEXT COLLATE "C" NOT NULL,
    opened   BIGINT NOT NULL,
    last     BIGINT NOT NULL,
    absolute BIGINT NOT NULL
);
CREATE INDEX families_agent ON families (agent);
CREATE INDEX families_absolute ON families (absolute);

-- The newest family of each (agent, subject, proof, task), by their SHA-256.
CREATE TABLE family_heads (
    digest BYTEA NOT NULL PRIMARY KEY,
    family TEXT COLLATE "C" NOT NULL
);
CREATE INDEX family_heads_family ON family_heads (family);

-- Client assertions that were accepted, by the SHA-256 of (issuer, jti).
CREATE TABLE assertions (
    digest  BYTEA NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
);
CREATE INDEX assertions_expires ON assertions (expires);

CREATE TABLE secrets (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL CHECK (version > 0),
    sealed  BYTEA NOT NULL,
    doc     TEXT COLLATE "C" NOT NULL
);

CREATE TABLE evidence_keys (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    wrapped BYTEA NOT NULL
);
