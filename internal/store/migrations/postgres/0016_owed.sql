-- +goose Up
-- Leaves of the evidence about changes that take effect first, kept with the change
-- until the log of the node holds them. doc is JSON, n tells those of one change
-- apart.

CREATE TABLE owed (
    change TEXT COLLATE "C" NOT NULL,
    n      BIGINT NOT NULL,
    node   TEXT COLLATE "C" NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (change, n)
);
CREATE INDEX owed_node ON owed (node, change, n);

-- What is remembered because of one agent is bounded.
ALTER TABLE fact_marks ADD COLUMN agent TEXT COLLATE "C" NOT NULL DEFAULT '';
