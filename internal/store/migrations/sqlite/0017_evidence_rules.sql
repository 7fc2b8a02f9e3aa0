-- +goose Up
-- A row names the list of policies it was decided by, where each of them was a
-- row of its own: there are few lists and many calls. The index is derived from
-- the log, so it is made anew: without its mark the next start reads the log
-- from the beginning.

DROP TABLE evidence_policies;
DELETE FROM evidence_marks;
DELETE FROM evidence;
ALTER TABLE evidence ADD COLUMN rules TEXT;
CREATE INDEX evidence_rules_of ON evidence (rules, idx) WHERE rules IS NOT NULL;

-- What is on a list. log is origin of the row.
CREATE TABLE evidence_rules (
    policy TEXT NOT NULL,
    log    TEXT NOT NULL,
    rules  TEXT NOT NULL,
    PRIMARY KEY (policy, log, rules)
) STRICT, WITHOUT ROWID;
