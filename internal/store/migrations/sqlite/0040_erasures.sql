-- +goose Up
-- Orders to erase a person from the evidence, which name nobody; doc is JSON. Which
-- logs have carried them out.

CREATE TABLE erasures (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE erasures_done (
    id     TEXT NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (id, origin)
) STRICT;
