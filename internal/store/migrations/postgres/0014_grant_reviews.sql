-- +goose Up
-- What is owed for grants one person made without those who approve. A person owes
-- at most one review for one entitlement.

CREATE TABLE grant_reviews (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- of the grant
    entitlement TEXT COLLATE "C" NOT NULL,
    person      TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('due', 'overdue', 'reviewed')),
    rev         BIGINT NOT NULL,
    doc         TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX grant_reviews_owed ON grant_reviews (entitlement, person) WHERE state <> 'reviewed';
