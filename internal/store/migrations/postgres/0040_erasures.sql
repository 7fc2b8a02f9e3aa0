-- +goose Up
-- Orders to erase a person from the evidence, which name nobody; doc is JSON. Which
-- logs have carried them out.

CREATE TABLE erasures (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

CREATE TABLE erasures_done (
    id     TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id, origin)
);
