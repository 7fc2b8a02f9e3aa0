-- +goose Up
-- A row names what it shares with others: the list of policies it was decided by,
-- where each of them was a row of its own, and its text, where the words of each
-- row were indexed. There are few lists and texts and many calls. The index is
-- derived from the log, so it is made anew: without its mark the next start reads
-- the log from the beginning.

DROP TABLE evidence_words;
DROP TABLE evidence;
DROP TABLE evidence_policies;
DELETE FROM evidence_marks;

CREATE TABLE evidence (
    id       INTEGER PRIMARY KEY,
    origin   TEXT NOT NULL,
    idx      INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    type     TEXT NOT NULL,
    decision TEXT,
    outcome  TEXT,
    status   TEXT,
    agent    TEXT,
    subject  TEXT,
    session  TEXT,
    task     TEXT,
    server   TEXT,
    tool     TEXT,
    trace    TEXT,
    rules    TEXT,
    text     TEXT,
    doc      TEXT NOT NULL,
    UNIQUE (idx, origin)
) STRICT;
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
    policy TEXT NOT NULL,
    log    TEXT NOT NULL,
    rules  TEXT NOT NULL,
    PRIMARY KEY (policy, log, rules)
) STRICT, WITHOUT ROWID;

CREATE TABLE evidence_texts (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    log   TEXT NOT NULL,
    words TEXT NOT NULL
) STRICT;
CREATE INDEX evidence_texts_log ON evidence_texts (log);

-- The words are cut by us (text.go), so the tokenizer only splits at spaces.
CREATE VIRTUAL TABLE evidence_words USING fts5 (
    words, content = 'evidence_texts', content_rowid = 'id', tokenize = 'ascii', detail = 'none', columnsize = 0
);

-- +goose StatementBegin
CREATE TRIGGER evidence_words_insert AFTER INSERT ON evidence_texts BEGIN
    INSERT INTO evidence_words (rowid, words) VALUES (new.id, new.words);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER evidence_words_delete AFTER DELETE ON evidence_texts BEGIN
    INSERT INTO evidence_words (evidence_words, rowid, words) VALUES ('delete', old.id, old.words);
END;
-- +goose StatementEnd
