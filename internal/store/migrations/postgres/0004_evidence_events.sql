-- +goose Up
-- One row of an event, where there was one of each leaf: idx is its first leaf
-- and last its newest. The index is derived from the log, so it is made anew:
-- without its mark the next start reads the log from the beginning.
-- What a row does not have is NULL, so that the indexes hold only what is there;
-- what most rows have is in no index, since rows in order find it as soon.

DROP TABLE evidence;
DROP TABLE evidence_policies;
DELETE FROM evidence_marks;

CREATE TABLE evidence (
    origin   TEXT COLLATE "C" NOT NULL,
    idx      BIGINT NOT NULL,
    last     BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    type     TEXT COLLATE "C" NOT NULL,
    decision TEXT COLLATE "C",
    outcome  TEXT COLLATE "C",
    status   TEXT COLLATE "C",
    agent    TEXT COLLATE "C",
    subject  TEXT COLLATE "C",
    session  TEXT COLLATE "C",
    task     TEXT COLLATE "C",
    server   TEXT COLLATE "C",
    tool     TEXT COLLATE "C",
    trace    TEXT COLLATE "C",
    words    TEXT COLLATE "C" NOT NULL,
    doc      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (idx, origin)
);
CREATE INDEX evidence_last ON evidence (last);
CREATE INDEX evidence_at ON evidence (at);
CREATE INDEX evidence_type ON evidence (type, idx) WHERE type <> 'intent';
CREATE INDEX evidence_open ON evidence (idx) WHERE type = 'intent' AND status IS NULL;
CREATE INDEX evidence_decision ON evidence (decision) WHERE decision IS NOT NULL;
CREATE INDEX evidence_agent ON evidence (agent, idx) WHERE agent IS NOT NULL;
CREATE INDEX evidence_subject ON evidence (subject, idx) WHERE subject IS NOT NULL;
CREATE INDEX evidence_session ON evidence (session, idx) WHERE session IS NOT NULL;
CREATE INDEX evidence_task ON evidence (task, idx) WHERE task IS NOT NULL;
CREATE INDEX evidence_tool ON evidence (server, tool, idx) WHERE server IS NOT NULL;
CREATE INDEX evidence_outcome ON evidence (outcome, idx) WHERE outcome <> 'permit';
CREATE INDEX evidence_trace ON evidence (trace) WHERE trace IS NOT NULL;

-- The words are cut by us (text.go) and no parser of PostgreSQL sees them.
CREATE INDEX evidence_words ON evidence USING gin (array_to_tsvector(string_to_array(words, ' ')));

-- leaf and log are idx and origin of the row.
CREATE TABLE evidence_policies (
    policy TEXT COLLATE "C" NOT NULL,
    leaf   BIGINT NOT NULL,
    log    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (policy, leaf, log)
);
