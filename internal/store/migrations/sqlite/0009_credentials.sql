-- +goose Up
-- Credentials that are minted for a call. Times are microseconds since 1970, UTC;
-- doc columns hold JSON; where a column repeats a member of the document the column
-- counts.

CREATE TABLE credential_sources (
    id  TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

-- The link of a person to an upstream. A row is changed only at the rev that was
-- read; sealed holds its tokens and opens only as this rev of this row.
CREATE TABLE credential_links (
    id     TEXT NOT NULL PRIMARY KEY,
    state  TEXT NOT NULL CHECK (state IN ('active', 'broken')),
    rev    INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    doc    TEXT NOT NULL
) STRICT;

-- A link that is being made: taken once, by its state.
CREATE TABLE credential_flows (
    id      TEXT NOT NULL PRIMARY KEY,
    expires INTEGER NOT NULL,
    sealed  BLOB NOT NULL
) STRICT;

-- Clients we registered at authorization servers.
CREATE TABLE credential_clients (
    id     TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    doc    TEXT NOT NULL
) STRICT;
