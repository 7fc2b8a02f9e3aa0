-- +goose Up
-- A link that is none any more keeps its tokens, under an id of its own, until they are
-- revoked.
CREATE TABLE credential_links_next (
    id     TEXT NOT NULL PRIMARY KEY,
    state  TEXT NOT NULL CHECK (state IN ('active', 'broken', 'ending')),
    rev    INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    doc    TEXT NOT NULL
) STRICT;

INSERT INTO credential_links_next (id, state, rev, sealed, doc) SELECT id, state, rev, sealed, doc FROM credential_links;

DROP TABLE credential_links;

ALTER TABLE credential_links_next RENAME TO credential_links;
