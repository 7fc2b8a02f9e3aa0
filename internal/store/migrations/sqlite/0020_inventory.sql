-- +goose Up
-- What discovery found, and what is wrong. Times are microseconds since 1970, UTC;
-- doc columns hold JSON; where a column repeats a member of the document the column
-- counts. inventory_head counts the commits of the inventory.

CREATE TABLE inventory_head (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO inventory_head (one, value) VALUES (1, 0);

CREATE TABLE inventory_hosts (
    id        TEXT NOT NULL PRIMARY KEY,
    last_seen INTEGER NOT NULL,
    took      TEXT NOT NULL,
    doc       TEXT NOT NULL
) STRICT;

CREATE TABLE inventory_servers (
    key TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE inventory_variants (
    id     TEXT NOT NULL PRIMARY KEY,
    server TEXT NOT NULL,
    doc    TEXT NOT NULL
) STRICT;
CREATE INDEX inventory_variants_server ON inventory_variants (server);

-- gone and reappeared are 0 for never.
CREATE TABLE inventory_sightings (
    id         TEXT NOT NULL PRIMARY KEY,
    server     TEXT NOT NULL,
    host       TEXT NOT NULL,
    fact       TEXT NOT NULL,
    routed     INTEGER NOT NULL,
    disabled   INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    gone       INTEGER NOT NULL,
    reappeared INTEGER NOT NULL,
    doc        TEXT NOT NULL
) STRICT;
CREATE INDEX inventory_sightings_server ON inventory_sightings (server);
CREATE INDEX inventory_sightings_host ON inventory_sightings (host);

CREATE TABLE inventory_agents (
    id        TEXT NOT NULL PRIMARY KEY,
    host      TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    doc       TEXT NOT NULL
) STRICT;
CREATE INDEX inventory_agents_host ON inventory_agents (host);

CREATE TABLE inventory_credentials (
    id        TEXT NOT NULL PRIMARY KEY,
    host      TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    doc       TEXT NOT NULL
) STRICT;
CREATE INDEX inventory_credentials_host ON inventory_credentials (host);

-- Which keys are one server: a person's word. undone is 0 while it stands.
CREATE TABLE inventory_merges (
    id       TEXT NOT NULL PRIMARY KEY,
    from_key TEXT NOT NULL,
    into_key TEXT NOT NULL,
    undone   INTEGER NOT NULL,
    doc      TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX inventory_merges_standing ON inventory_merges (from_key) WHERE undone = 0;

-- Batches that were taken. Those of one device have growing sequences.
CREATE TABLE inventory_batches (
    id       TEXT NOT NULL PRIMARY KEY,
    device   TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    doc      TEXT NOT NULL
) STRICT;
CREATE INDEX inventory_batches_at ON inventory_batches (at);

-- Machines that may report. public is the key of one that is enrolled, or of the
-- code that lets one enroll.
CREATE TABLE inventory_devices (
    id       TEXT NOT NULL PRIMARY KEY,
    state    TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    rev      INTEGER NOT NULL,
    doc      TEXT NOT NULL
) STRICT;

-- severity is 0 for info to 5 for what nobody graded.
CREATE TABLE findings (
    id           TEXT NOT NULL PRIMARY KEY,
    rule         TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject      TEXT NOT NULL,
    owner        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'muted', 'resolved')),
    severity     INTEGER NOT NULL,
    last_seen    INTEGER NOT NULL,
    rev          INTEGER NOT NULL,
    doc          TEXT NOT NULL
) STRICT;
CREATE INDEX findings_subject ON findings (subject, subject_kind);
CREATE INDEX findings_waiting ON findings (state) WHERE state <> 'resolved';

CREATE TABLE finding_sources (
    source  TEXT NOT NULL,
    finding TEXT NOT NULL REFERENCES findings (id),
    PRIMARY KEY (source, finding)
) STRICT;
CREATE INDEX finding_sources_finding ON finding_sources (finding);
