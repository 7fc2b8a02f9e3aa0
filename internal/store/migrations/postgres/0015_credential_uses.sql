-- +goose Up
-- When credentials were last used, and which version of it; expires is when that
-- ends by itself, 0 if it does not or nobody knows. Times are microseconds since
-- 1970, UTC.

CREATE TABLE credential_uses (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version TEXT COLLATE "C" NOT NULL,
    used    BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
