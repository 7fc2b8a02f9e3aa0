-- +goose Up
-- Views of a page that a person keeps: the query of its address under a name. at is in
-- microseconds since 1970, UTC.

CREATE TABLE console_views (
    owner TEXT    NOT NULL,
    page  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    query TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (owner, page, name)
) STRICT;

-- Says in one pass over an index whether any finding changed.
CREATE INDEX findings_rev ON findings (rev);
