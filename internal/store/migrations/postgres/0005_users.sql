-- +goose Up
-- People and, in their documents, the SHA-256 of their personal tokens. When a
-- token was last used stands apart: it is no change of the registry.

CREATE TABLE users (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'suspended', 'retired')),
    doc   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE token_uses (
    token TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    used  BIGINT NOT NULL
);
CREATE INDEX token_uses_used ON token_uses (used);
