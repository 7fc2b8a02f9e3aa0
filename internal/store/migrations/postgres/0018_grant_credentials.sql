-- +goose Up
-- Grants that begin later, and grants whose credentials are being ended at their
-- issuers. What was minted under a grant stands here until it has ended; sealed is what
-- its issuer ends it by. Times are microseconds since 1970, UTC; expires of 0 is not
-- known.

ALTER TABLE grants
    DROP CONSTRAINT grants_state_check,
    ADD CONSTRAINT grants_state_check CHECK (state IN ('scheduled', 'active', 'suspended', 'exhausted', 'expired', 'completed', 'withdrawn', 'revoking', 'revoke_partial', 'revoked'));
DROP INDEX grants_live;
CREATE INDEX grants_live ON grants (id) WHERE state IN ('scheduled', 'active', 'suspended');
CREATE INDEX grants_revoking ON grants (id) WHERE state IN ('revoking', 'revoke_partial');

CREATE TABLE grant_credentials (
    grant_id   TEXT COLLATE "C" NOT NULL REFERENCES grants (id),
    credential TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    server     TEXT COLLATE "C" NOT NULL,
    node       TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    sealed     BYTEA,
    tries      BIGINT NOT NULL DEFAULT 0,
    next       BIGINT NOT NULL DEFAULT 0,
    why        TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (grant_id, credential, version)
);
CREATE INDEX grant_credentials_version ON grant_credentials (credential, version);
