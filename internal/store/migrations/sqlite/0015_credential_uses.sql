-- +goose Up
-- When credentials were last used, and which version of it; expires is when that
-- ends by itself, 0 if it does not or nobody knows. Times are microseconds since
-- 1970, UTC.

CREATE TABLE credential_uses (
    id      TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    used    INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
