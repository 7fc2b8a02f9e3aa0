-- +goose Up
-- Events that wait until a receiver of ours fetches them; body is JSON, at is microseconds
-- since 1970. One event is in a stream once.
CREATE TABLE signal_parcels (
    stream TEXT NOT NULL,
    id     TEXT NOT NULL,
    body   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (stream, id)
) STRICT;

CREATE INDEX signal_parcels_oldest ON signal_parcels (stream, at, id);
