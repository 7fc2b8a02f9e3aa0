-- +goose Up
-- What sessions have touched: whose words an agent read and which private scopes it
-- saw something of, each with the call that came first. Nothing is taken back.
CREATE TABLE session_labels (
    session  TEXT NOT NULL,
    side     TEXT NOT NULL,
    word     TEXT NOT NULL,
    server   TEXT NOT NULL,
    tool     TEXT NOT NULL,
    decision TEXT NOT NULL,
    leaf     BIGINT NOT NULL,
    hash     BYTEA NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (session, side, word, server)
);

-- Keyed fingerprints of what was in answers: by them the values of later calls are
-- known again.
CREATE TABLE session_sources (
    session TEXT NOT NULL,
    id      TEXT NOT NULL,
    prints  BYTEA NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (session, id)
);
