-- +goose Up
-- Every generation of the rules that was in force: policies, entitlements and
-- allow-lists. head says all but what it holds; rules is that, as gzip of JSON.

CREATE TABLE policy_versions (
    n     BIGINT NOT NULL PRIMARY KEY,
    head  TEXT COLLATE "C" NOT NULL,
    rules BYTEA NOT NULL
);
