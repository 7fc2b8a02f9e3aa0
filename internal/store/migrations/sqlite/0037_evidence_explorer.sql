-- +goose Up
-- What the evidence explorer filters by and the index did not hold: the grant a call
-- was permitted under, the labels its session had touched, and how it ended unless
-- well. Spans say when the rows of 1,024 indexes began, so that a search for a time
-- begins there.
-- The index is derived from the log, so it is made anew: without its mark the next
-- start reads the log from the beginning.

DELETE FROM evidence_marks;
DELETE FROM evidence;
DELETE FROM evidence_texts;
DELETE FROM evidence_rules;
ALTER TABLE evidence ADD COLUMN granted TEXT;
ALTER TABLE evidence ADD COLUMN labels TEXT;
CREATE INDEX evidence_granted ON evidence (granted, idx) WHERE granted IS NOT NULL;
CREATE INDEX evidence_labelled ON evidence (labels, idx) WHERE labels IS NOT NULL;
CREATE INDEX evidence_status ON evidence (status, idx) WHERE status <> 'ok';

-- Of a server and of a tool, each in order: one index of both had neither alone.
DROP INDEX evidence_tool;
CREATE INDEX evidence_server ON evidence (server, idx) WHERE server IS NOT NULL;
CREATE INDEX evidence_tool ON evidence (tool, idx) WHERE tool IS NOT NULL;

-- What is in a set of labels. log is origin of the row.
CREATE TABLE evidence_labels (
    label  TEXT NOT NULL,
    log    TEXT NOT NULL,
    labels TEXT NOT NULL,
    PRIMARY KEY (label, log, labels)
) STRICT, WITHOUT ROWID;

-- The earliest and the latest time, in microseconds, at which rows of a block of
-- 1,024 indexes began.
CREATE TABLE evidence_spans (
    log      TEXT NOT NULL,
    block    INTEGER NOT NULL,
    earliest INTEGER NOT NULL,
    latest   INTEGER NOT NULL,
    PRIMARY KEY (log, block)
) STRICT, WITHOUT ROWID;
