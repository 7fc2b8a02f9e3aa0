-- +goose Up
-- A row names what it shares with others: the list of policies it was decided by,
-- where each of them was a row of its own, and its text, where the words of each
-- row were indexed. There are few lists and texts and many calls. The index is
-- derived from the log, so it is made anew: without its mark the next start reads
-- the log from the beginning.

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
    rules    TEXT COLLATE "C",
    text     TEXT COLLATE "C",
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
CREATE INDEX evidence_list ON evidence (rules, idx) WHERE rules IS NOT NULL;
CREATE INDEX evidence_text ON evidence (text, idx) WHERE text IS NOT NULL;

-- What is on a list of policies. log is origin of the row.
CREATE TABLE evidence_rules (
    policy TEXT COLLATE "C" NOT NULL,
    log    TEXT COLLATE "C" NOT NULL,
    rules  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (policy, log, rules)
);

CREATE TABLE evidence_texts (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    log   TEXT COLLATE "C" NOT NULL,
    words TEXT COLLATE "C" NOT NULL
);
CREATE INDEX evidence_texts_log ON evidence_texts (log);

-- The words are cut by us (text.go) and no parser of PostgreSQL sees them.
CREATE INDEX evidence_words ON evidence_texts USING gin (array_to_tsvector(string_to_array(words, ' ')));
