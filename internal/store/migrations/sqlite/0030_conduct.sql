-- +goose Up
-- How tools behave, as each node saw it: what was learned of them, and their last
-- calls. Losing it loses nothing but that.
CREATE TABLE conduct (
    node   TEXT NOT NULL,
    server TEXT NOT NULL,
    tool   TEXT NOT NULL,
    doc    TEXT NOT NULL,
    PRIMARY KEY (node, server, tool)
) STRICT;

-- What an outside judge said, by what it was shown and the version of its model.
CREATE TABLE verdicts (
    model  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    digest TEXT NOT NULL,
    at     INTEGER NOT NULL,
    doc    TEXT NOT NULL,
    PRIMARY KEY (model, kind, digest)
) STRICT;

CREATE INDEX verdicts_by_time ON verdicts (model, at);
