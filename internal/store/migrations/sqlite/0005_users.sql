-- +goose Up
-- People and, in their documents, the SHA-256 of their personal tokens. When a
-- token was last used stands apart: it is no change of the registry.

CREATE TABLE users (
    id    TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'retired')),
    doc   TEXT NOT NULL
) STRICT;

CREATE TABLE token_uses (
    token TEXT NOT NULL PRIMARY KEY,
    used  INTEGER NOT NULL
) STRICT;
CREATE INDEX token_uses_used ON token_uses (used);
