-- +goose Up
-- Leaves of the evidence about changes that take effect first, kept with the change
-- until the log of the node holds them. doc is JSON, n tells those of one change
-- apart.

CREATE TABLE owed (
    change TEXT NOT NULL,
    n      INTEGER NOT NULL,
    node   TEXT NOT NULL,
    doc    TEXT NOT NULL,
    PRIMARY KEY (change, n)
) STRICT;
CREATE INDEX owed_node ON owed (node, change, n);

-- What is remembered because of one agent is bounded.
ALTER TABLE fact_marks ADD COLUMN agent TEXT NOT NULL DEFAULT '';
