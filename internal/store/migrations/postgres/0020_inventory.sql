-- +goose Up
-- What discovery found, and what is wrong. Times are microseconds since 1970, UTC;
-- doc columns hold JSON; where a column repeats a member of the document the column
-- counts. inventory_head counts the commits of the inventory.

CREATE TABLE inventory_head (
    one   BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    value BIGINT NOT NULL
);
INSERT INTO inventory_head (one, value) VALUES (1, 0);

CREATE TABLE inventory_hosts (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last_seen BIGINT NOT NULL,
    took      TEXT COLLATE "C" NOT NULL,
    doc       TEXT COLLATE "C" NOT NULL
);

CREATE TABLE inventory_servers (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

CREATE TABLE inventory_variants (
    id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    server TEXT COLLATE "C" NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX inventory_variants_server ON inventory_variants (server);

-- gone and reappeared are 0 for never.
CREATE TABLE inventory_sightings (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    server     TEXT COLLATE "C" NOT NULL,
    host       TEXT COLLATE "C" NOT NULL,
    fact       TEXT COLLATE "C" NOT NULL,
    routed     BIGINT NOT NULL,
    disabled   BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    gone       BIGINT NOT NULL,
    reappeared BIGINT NOT NULL,
    doc        TEXT COLLATE "C" NOT NULL
);
CREATE INDEX inventory_sightings_server ON inventory_sightings (server);
CREATE INDEX inventory_sightings_host ON inventory_sightings (host);

CREATE TABLE inventory_agents (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    host      TEXT COLLATE "C" NOT NULL,
    last_seen BIGINT NOT NULL,
    doc       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX inventory_agents_host ON inventory_agents (host);

CREATE TABLE inventory_credentials (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    host      TEXT COLLATE "C" NOT NULL,
    last_seen BIGINT NOT NULL,
    doc       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX inventory_credentials_host ON inventory_credentials (host);

-- Which keys are one server: a person's word. undone is 0 while it stands.
CREATE TABLE inventory_merges (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    from_key TEXT COLLATE "C" NOT NULL,
    into_key TEXT COLLATE "C" NOT NULL,
    undone   BIGINT NOT NULL,
    doc      TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX inventory_merges_standing ON inventory_merges (from_key) WHERE undone = 0;

-- Batches that were taken. Those of one device have growing sequences.
CREATE TABLE inventory_batches (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    device   TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    doc      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX inventory_batches_at ON inventory_batches (at);

-- Machines that may report. public is the key of one that is enrolled, or of the
-- code that lets one enroll.
CREATE TABLE inventory_devices (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state    TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    rev      BIGINT NOT NULL,
    doc      TEXT COLLATE "C" NOT NULL
);

-- severity is 0 for info to 5 for what nobody graded.
CREATE TABLE findings (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    rule         TEXT COLLATE "C" NOT NULL,
    subject_kind TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    owner        TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'muted', 'resolved')),
    severity     BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    doc          TEXT COLLATE "C" NOT NULL
);
CREATE INDEX findings_subject ON findings (subject, subject_kind);
CREATE INDEX findings_waiting ON findings (state) WHERE state <> 'resolved';

CREATE TABLE finding_sources (
    source  TEXT COLLATE "C" NOT NULL,
    finding TEXT COLLATE "C" NOT NULL REFERENCES findings (id),
    PRIMARY KEY (source, finding)
);
CREATE INDEX finding_sources_finding ON finding_sources (finding);
