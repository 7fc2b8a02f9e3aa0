-- +goose Up
-- The newest signed head of each evidence log. Unlike the index it cannot be
-- rebuilt: it is what tells an older or another copy of the log from the log.

CREATE TABLE evidence_heads (
    origin TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size   BIGINT NOT NULL,
    root   BYTEA NOT NULL
);
