-- +goose Up
-- How tools behave, as each node saw it: what was learned of them, and their last
-- calls. Losing it loses nothing but that.
CREATE TABLE conduct (
    node   TEXT NOT NULL,
    server TEXT NOT NULL,
    tool   TEXT NOT NULL,
    doc    TEXT NOT NULL,
    PRIMARY KEY (node, server, tool)
);
