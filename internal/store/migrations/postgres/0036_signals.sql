-- +goose Up
-- What others told of people, agents and sessions, once each: doc is JSON, times are
-- microseconds since 1970, done is 1 once it was acted on. jti is a digest.
CREATE TABLE signals (
    source TEXT COLLATE "C" NOT NULL,
    jti    BYTEA NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    until  BIGINT NOT NULL,
    done   BIGINT NOT NULL,
    PRIMARY KEY (source, jti)
);

CREATE INDEX signals_waiting ON signals (at) WHERE done = 0;

-- Whose a session at an identity provider is; sid is a digest of issuer and session.
CREATE TABLE provider_sessions (
    sid     BYTEA NOT NULL PRIMARY KEY,
    subject TEXT COLLATE "C" NOT NULL,
    until   BIGINT NOT NULL
);

-- What a channel was told, so that it is told once.
CREATE TABLE notices (
    channel TEXT COLLATE "C" NOT NULL,
    item    TEXT COLLATE "C" NOT NULL,
    told    BIGINT NOT NULL,
    PRIMARY KEY (channel, item)
);

-- Declared sources of signals and receivers of mail, and streams that others set up, by
-- kind; doc is JSON, and rev grows with each change.
CREATE TABLE signal_objects (
    kind TEXT COLLATE "C" NOT NULL,
    id   TEXT COLLATE "C" NOT NULL,
    doc  TEXT COLLATE "C" NOT NULL,
    rev  BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
