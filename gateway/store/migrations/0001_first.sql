-- Keys, prices, charges and calls.
-- Only what SQLite and PostgreSQL share: TEXT and BIGINT, no AUTOINCREMENT, one statement per ";".
-- Times are unix milliseconds, money nano-dollars, truth 0 or 1, JSON is text.

CREATE TABLE teams (
    name TEXT PRIMARY KEY,
    credentials TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    team TEXT REFERENCES teams (name),
    models TEXT NOT NULL,
    tags TEXT NOT NULL,
    credentials TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    revoked_at_ms BIGINT,
    rotated_from TEXT REFERENCES keys (id)
);

-- One row: every change to keys, teams or the admin key adds 1 in its transaction.
CREATE TABLE keys_version (
    version BIGINT NOT NULL
);

INSERT INTO keys_version (version) VALUES (1);

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- The processes that may own open charges, each with the end of its lease.
CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    started_at_ms BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL
);

-- Content-addressed: a digest names exactly these figures, for ever.
CREATE TABLE prices (
    digest TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    first_used_ms BIGINT NOT NULL
);

-- One attempt at a provider. `state`: open, settled, or lost (its process died; cost = bound).
-- It carries its caller's key, team, tags and model, so that sums need no row of `calls`.
CREATE TABLE charges (
    charge_id TEXT PRIMARY KEY,
    call_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT,
    tags TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    credential TEXT NOT NULL,
    price_digest TEXT,
    bound_nano_usd BIGINT,
    opened_at_ms BIGINT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    settled_at_ms BIGINT,
    cost_nano_usd BIGINT,
    unpriced BIGINT NOT NULL,
    error TEXT,
    source TEXT,
    service_tier TEXT,
    prompt_tokens BIGINT,
    cached_tokens BIGINT,
    cache_write_tokens BIGINT,
    cache_write_1h_tokens BIGINT,
    prompt_audio_tokens BIGINT,
    prompt_image_tokens BIGINT,
    completion_tokens BIGINT,
    reasoning_tokens BIGINT,
    completion_audio_tokens BIGINT,
    completion_image_tokens BIGINT,
    first_event_ms BIGINT,
    duration_ms BIGINT
);

-- Every index here is paid by every attempt; sums by key, team or model walk a stretch of time.
CREATE INDEX charges_by_call ON charges (call_id);
CREATE INDEX charges_by_time ON charges (opened_at_ms);
CREATE INDEX charges_open ON charges (owner) WHERE state = 'open';

-- One client request, written when it ends. `overhead_us` is microseconds.
CREATE TABLE calls (
    call_id TEXT PRIMARY KEY,
    received_at_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT,
    tags TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    alias TEXT,
    target TEXT,
    stream BIGINT NOT NULL,
    status BIGINT NOT NULL,
    error TEXT,
    attempts BIGINT NOT NULL,
    first_event_ms BIGINT,
    duration_ms BIGINT NOT NULL,
    overhead_us BIGINT,
    facts TEXT NOT NULL
);

CREATE INDEX calls_by_time ON calls (received_at_ms, call_id);
CREATE INDEX calls_by_key ON calls (key_id, received_at_ms, call_id);
