-- +goose Up
-- Declared receivers of evidence; doc is JSON. How far each got in a log: next is
-- the index of the leaf to go on with, changed microseconds since 1970.

CREATE TABLE sinks (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

CREATE TABLE sink_cursors (
    sink    TEXT COLLATE "C" NOT NULL,
    origin  TEXT COLLATE "C" NOT NULL,
    next    BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (sink, origin)
);
