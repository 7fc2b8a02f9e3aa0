-- +goose Up
-- What people sign in to the console with. A row counts for nobody unless the user
-- names it; what grows with each use is beside what is sealed.
CREATE TABLE sign_in_factors (
    id         TEXT NOT NULL PRIMARY KEY,
    user_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    credential TEXT UNIQUE,
    counter    BIGINT NOT NULL,
    spent      BIGINT NOT NULL,
    used       BIGINT NOT NULL,
    sealed     BYTEA NOT NULL
);

CREATE INDEX sign_in_factors_user ON sign_in_factors (user_id);
