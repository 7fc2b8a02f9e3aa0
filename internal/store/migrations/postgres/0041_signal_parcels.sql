-- +goose Up
-- Events that wait until a receiver of ours fetches them; body is JSON, at is microseconds
-- since 1970. One event is in a stream once.
CREATE TABLE signal_parcels (
    stream TEXT COLLATE "C" NOT NULL,
    id     TEXT COLLATE "C" NOT NULL,
    body   TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (stream, id)
);

CREATE INDEX signal_parcels_oldest ON signal_parcels (stream, at, id);
