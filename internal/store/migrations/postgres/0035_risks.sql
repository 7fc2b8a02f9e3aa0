-- +goose Up
-- What is usual of agents, and how unusual they and the people they act for are now,
-- as each node saw it. Losing it loses nothing but that.
CREATE TABLE risks (
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    doc  TEXT NOT NULL,
    PRIMARY KEY (node, kind, id)
);
