-- +goose Up
-- Limits of grants besides the number of uses, and grants carved out of others:
-- what a child may use is counted as carved at its parent until it ends. A limit
-- of 0 is none.

ALTER TABLE grants
    ADD COLUMN parent          TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN uses_carved     BIGINT NOT NULL DEFAULT 0 CHECK (uses_carved >= 0),
    ADD COLUMN amount_max      BIGINT NOT NULL DEFAULT 0 CHECK (amount_max >= 0),
    ADD COLUMN amount_spent    BIGINT NOT NULL DEFAULT 0 CHECK (amount_spent >= 0),
    ADD COLUMN amount_reserved BIGINT NOT NULL DEFAULT 0 CHECK (amount_reserved >= 0),
    ADD COLUMN amount_carved   BIGINT NOT NULL DEFAULT 0 CHECK (amount_carved >= 0),
    ADD COLUMN running_max     BIGINT NOT NULL DEFAULT 0 CHECK (running_max >= 0),
    ADD COLUMN running_carved  BIGINT NOT NULL DEFAULT 0 CHECK (running_carved >= 0),
    ADD COLUMN window_uses     BIGINT NOT NULL DEFAULT 0 CHECK (window_uses >= 0),
    ADD COLUMN window_length   BIGINT NOT NULL DEFAULT 0 CHECK (window_length >= 0), -- microseconds
    ADD COLUMN window_carved   BIGINT NOT NULL DEFAULT 0 CHECK (window_carved >= 0),
    ADD COLUMN bytes_max       BIGINT NOT NULL DEFAULT 0 CHECK (bytes_max >= 0),
    ADD COLUMN bytes_spent     BIGINT NOT NULL DEFAULT 0 CHECK (bytes_spent >= 0),
    ADD COLUMN bytes_carved    BIGINT NOT NULL DEFAULT 0 CHECK (bytes_carved >= 0),
    ADD COLUMN idle_length     BIGINT NOT NULL DEFAULT 0 CHECK (idle_length >= 0), -- microseconds
    ADD COLUMN used_at         BIGINT NOT NULL DEFAULT 0,                          -- last; never goes back
    DROP CONSTRAINT grants_state_check,
    ADD CONSTRAINT grants_state_check CHECK (state IN ('active', 'suspended', 'exhausted', 'expired', 'completed', 'withdrawn', 'revoked'));
CREATE INDEX grants_parent ON grants (parent) WHERE parent <> '';

ALTER TABLE grant_uses
    ADD COLUMN amount BIGINT NOT NULL DEFAULT 0 CHECK (amount >= 0),
    ADD COLUMN bytes  BIGINT NOT NULL DEFAULT 0 CHECK (bytes >= 0);
CREATE INDEX grant_uses_window ON grant_uses (grant_id, at);
