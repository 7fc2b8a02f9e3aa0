-- +goose Up
-- Every generation of the rules that was in force: policies, entitlements and
-- allow-lists. head says all but what it holds; rules is that, as gzip of JSON.

CREATE TABLE policy_versions (
    n     INTEGER NOT NULL PRIMARY KEY,
    head  TEXT NOT NULL,
    rules BLOB NOT NULL
) STRICT;
