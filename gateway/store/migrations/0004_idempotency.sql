-- What was answered under an `Idempotency-Key`, for as long as it is kept.
-- `status` is NULL while the first call is running: a claim, held by the process `owner`. A claim
-- ends with its call, with its process's lease, or when it expires.

CREATE TABLE idempotency (
    key_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    call_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    status BIGINT,
    content_type TEXT,
    body TEXT,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
);

CREATE INDEX idempotency_by_expiry ON idempotency (expires_at_ms);
