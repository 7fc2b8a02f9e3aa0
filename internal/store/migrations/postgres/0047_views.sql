-- +goose Up
-- Views of a page that a person keeps: the query of its address under a name. at is in
-- microseconds since 1970, UTC.

CREATE TABLE console_views (
    owner TEXT COLLATE "C" NOT NULL,
    page  TEXT COLLATE "C" NOT NULL,
    name  TEXT COLLATE "C" NOT NULL,
    query TEXT COLLATE "C" NOT NULL,
    at    BIGINT           NOT NULL,
    PRIMARY KEY (owner, page, name)
);

-- Says in one pass over an index whether any finding changed.
CREATE INDEX findings_rev ON findings (rev);
