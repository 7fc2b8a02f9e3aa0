-- +goose Up
-- What stands against a session: '' nothing, else quarantined, revoked or
-- terminated, and why.

ALTER TABLE families ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE families ADD COLUMN why TEXT NOT NULL DEFAULT '';
CREATE INDEX families_state ON families (state) WHERE state <> '';
