-- +goose Up
-- Credentials that are minted for a call. Times are microseconds since 1970, UTC;
-- doc columns hold JSON; where a column repeats a member of the document the column
-- counts.

CREATE TABLE credential_sources (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    doc TEXT COLLATE "C" NOT NULL
);

-- The link of a person to an upstream. A row is changed only at the rev that was
-- read; sealed holds its tokens and opens only as this rev of this row.
CREATE TABLE credential_links (
    id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state  TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'broken')),
    rev    BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL
);

-- A link that is being made: taken once, by its state.
CREATE TABLE credential_flows (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL,
    sealed  BYTEA NOT NULL
);

-- Clients we registered at authorization servers.
CREATE TABLE credential_clients (
    id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL
);
