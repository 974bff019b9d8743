-- Sealed data keys, what was cleared from the cache, and what the cache did.

-- Answers of an owner (`team:NAME`, or `key:ID` of a key without a team) are sealed with its data
-- key, which is sealed with the master key. Without this row they are nobody's.
CREATE TABLE data_keys (
    owner TEXT PRIMARY KEY,
    wrapped TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- Whose data key opens `body`.
ALTER TABLE idempotency ADD COLUMN sealed_for TEXT;

-- How often what has these properties was cleared; an empty one is any.
CREATE TABLE cache_epochs (
    owner TEXT NOT NULL,
    namespace TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    cleared_at_ms BIGINT NOT NULL,
    PRIMARY KEY (owner, namespace, asked_model)
);

-- Sums over all processes. `hour_ms` is the beginning of the hour; a key without a team has ''.
CREATE TABLE cache_stats (
    hour_ms BIGINT NOT NULL,
    team TEXT NOT NULL,
    key_id TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    hits BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    coalesced BIGINT NOT NULL,
    bypasses BIGINT NOT NULL,
    additions BIGINT NOT NULL,
    unreadable BIGINT NOT NULL,
    saved_tokens BIGINT NOT NULL,
    saved_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (hour_ms, team, key_id, asked_model)
);

-- A team that was deleted keeps its row for the keys that name it.
ALTER TABLE teams ADD COLUMN deleted_at_ms BIGINT;
