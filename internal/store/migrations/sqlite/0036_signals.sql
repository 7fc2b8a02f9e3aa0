-- +goose Up
-- What others told of people, agents and sessions, once each: doc is JSON, times are
-- microseconds since 1970, done is 1 once it was acted on. jti is a digest.
CREATE TABLE signals (
    source TEXT NOT NULL,
    jti    BLOB NOT NULL,
    doc    TEXT NOT NULL,
    at     INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    done   INTEGER NOT NULL,
    PRIMARY KEY (source, jti)
) STRICT;

CREATE INDEX signals_waiting ON signals (at) WHERE done = 0;

-- Whose a session at an identity provider is; sid is a digest of issuer and session.
CREATE TABLE provider_sessions (
    sid     BLOB NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    until   INTEGER NOT NULL
) STRICT;

-- What a channel was told, so that it is told once.
CREATE TABLE notices (
    channel TEXT NOT NULL,
    item    TEXT NOT NULL,
    told    INTEGER NOT NULL,
    PRIMARY KEY (channel, item)
) STRICT;

-- Declared sources of signals and receivers of mail, and streams that others set up, by
-- kind; doc is JSON, and rev grows with each change.
CREATE TABLE signal_objects (
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    doc  TEXT NOT NULL,
    rev  INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
