-- +goose Up
-- Declared receivers of events. doc is JSON.

CREATE TABLE webhooks (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;
