-- +goose Up
-- Declared receivers of events. doc is JSON.

CREATE TABLE webhooks (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);
