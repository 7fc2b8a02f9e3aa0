-- +goose Up
-- Placeholders of values a model does not see, and the key each session makes them
-- with. Both go with the session.
CREATE TABLE placeholder_keys (
    session TEXT NOT NULL PRIMARY KEY,
    sealed  BYTEA NOT NULL
);

CREATE TABLE placeholders (
    session TEXT NOT NULL,
    token   TEXT NOT NULL,
    label   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    server  TEXT NOT NULL,
    tool    TEXT NOT NULL,
    sealed  BYTEA NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (session, token)
);
