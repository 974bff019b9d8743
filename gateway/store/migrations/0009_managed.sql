-- What administrators keep beside the configuration file. Running processes learn of a change by
-- `keys_version`.

-- `sealed` is hexadecimal: a JSON object with `secret` and `settings`, sealed with the master key.
CREATE TABLE provider_credentials (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,
    hint TEXT NOT NULL,
    rotate BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE (provider, name)
);

-- A model's figures from a moment on; JSON by litellm's names, in dollars.
CREATE TABLE dated_prices (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    figures TEXT NOT NULL,
    effective_from_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    UNIQUE (model, effective_from_ms)
);
