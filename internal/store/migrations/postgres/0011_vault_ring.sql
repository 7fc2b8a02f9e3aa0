-- +goose Up
-- The vault's root keys, sealed by its key encryption key: one row, replaced as
-- a whole.

CREATE TABLE vault_ring (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL,
    sealed  BYTEA NOT NULL
);
