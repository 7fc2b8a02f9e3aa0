-- +goose Up
-- A link that is none any more keeps its tokens, under an id of its own, until they are
-- revoked.
ALTER TABLE credential_links DROP CONSTRAINT credential_links_state_check;

ALTER TABLE credential_links ADD CONSTRAINT credential_links_state_check CHECK (state IN ('active', 'broken', 'ending'));
