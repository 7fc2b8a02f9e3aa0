-- +goose Up
-- Declared receivers of evidence; doc is JSON. How far each got in a log: next is
-- the index of the leaf to go on with, changed microseconds since 1970.

CREATE TABLE sinks (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE sink_cursors (
    sink    TEXT NOT NULL,
    origin  TEXT NOT NULL,
    next    INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (sink, origin)
) STRICT;
