-- +goose Up
-- What is owed for grants one person made without those who approve. A person owes
-- at most one review for one entitlement.

CREATE TABLE grant_reviews (
    id          TEXT NOT NULL PRIMARY KEY, -- of the grant
    entitlement TEXT NOT NULL,
    person      TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('due', 'overdue', 'reviewed')),
    rev         INTEGER NOT NULL,
    doc         TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX grant_reviews_owed ON grant_reviews (entitlement, person) WHERE state <> 'reviewed';
