-- What the cache did for a call, and what it saved; and the sums over charges and calls that reports
-- read (gateway/store/rollup/). A line that begins with "--sqlite:" is for SQLite only.

ALTER TABLE calls ADD COLUMN cache TEXT;

ALTER TABLE calls ADD COLUMN saved_nano_usd BIGINT;

ALTER TABLE calls ADD COLUMN saved_tokens BIGINT;

-- Few calls fail: this index is paid by those only, and finds them among millions.
CREATE INDEX calls_failed ON calls (received_at_ms, call_id) WHERE error IS NOT NULL;

-- One row. All quarter hours before `until_ms` are summed up, but for those with a mark. Before
-- `pruned_ms` only the sums count, and the rows are deleted. `owner` is the process that sums up.
CREATE TABLE rollup_state (
    until_ms BIGINT NOT NULL,
    pruned_ms BIGINT NOT NULL,
    owner TEXT NOT NULL
);

INSERT INTO rollup_state (until_ms, pruned_ms, owner) VALUES (0, 0, '');

-- A quarter hour whose sums are missing (`summed` 0) or stale: its rows count instead. Whatever
-- changes its rows gives it another `version`.
CREATE TABLE rollup_marks (
    start_ms BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    summed BIGINT NOT NULL
);

-- Whose sums: a family, a kind, and the values of the kind's dimensions. `name` is all of that as
-- JSON. Groups are only ever added.
CREATE TABLE rollup_groups (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    family TEXT NOT NULL,
    kind TEXT NOT NULL,
    key_id TEXT,
    team TEXT,
    asked_model TEXT,
    provider TEXT,
    model TEXT,
    target TEXT,
    status BIGINT,
    error TEXT,
    tag TEXT
);

CREATE INDEX rollup_groups_by_kind ON rollup_groups (family, kind);

CREATE TABLE usage_quarters (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    provider_calls BIGINT NOT NULL,
    target_calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    open BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    prompt_audio_tokens BIGINT NOT NULL,
    prompt_image_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    completion_audio_tokens BIGINT NOT NULL,
    completion_image_tokens BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE usage_days (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    provider_calls BIGINT NOT NULL,
    target_calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    open BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    prompt_audio_tokens BIGINT NOT NULL,
    prompt_image_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    completion_audio_tokens BIGINT NOT NULL,
    completion_image_tokens BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE targets_quarters (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    duration_00 BIGINT NOT NULL, duration_01 BIGINT NOT NULL, duration_02 BIGINT NOT NULL,
    duration_03 BIGINT NOT NULL, duration_04 BIGINT NOT NULL, duration_05 BIGINT NOT NULL,
    duration_06 BIGINT NOT NULL, duration_07 BIGINT NOT NULL, duration_08 BIGINT NOT NULL,
    duration_09 BIGINT NOT NULL, duration_10 BIGINT NOT NULL, duration_11 BIGINT NOT NULL,
    duration_12 BIGINT NOT NULL, duration_13 BIGINT NOT NULL, duration_14 BIGINT NOT NULL,
    duration_15 BIGINT NOT NULL, duration_16 BIGINT NOT NULL, duration_17 BIGINT NOT NULL,
    duration_18 BIGINT NOT NULL, duration_19 BIGINT NOT NULL, duration_20 BIGINT NOT NULL,
    duration_21 BIGINT NOT NULL, duration_22 BIGINT NOT NULL, duration_23 BIGINT NOT NULL,
    duration_24 BIGINT NOT NULL, duration_25 BIGINT NOT NULL, duration_26 BIGINT NOT NULL,
    duration_27 BIGINT NOT NULL, duration_28 BIGINT NOT NULL, duration_29 BIGINT NOT NULL,
    duration_30 BIGINT NOT NULL, duration_31 BIGINT NOT NULL, duration_32 BIGINT NOT NULL,
    duration_33 BIGINT NOT NULL, duration_34 BIGINT NOT NULL, duration_35 BIGINT NOT NULL,
    first_event_00 BIGINT NOT NULL, first_event_01 BIGINT NOT NULL, first_event_02 BIGINT NOT NULL,
    first_event_03 BIGINT NOT NULL, first_event_04 BIGINT NOT NULL, first_event_05 BIGINT NOT NULL,
    first_event_06 BIGINT NOT NULL, first_event_07 BIGINT NOT NULL, first_event_08 BIGINT NOT NULL,
    first_event_09 BIGINT NOT NULL, first_event_10 BIGINT NOT NULL, first_event_11 BIGINT NOT NULL,
    first_event_12 BIGINT NOT NULL, first_event_13 BIGINT NOT NULL, first_event_14 BIGINT NOT NULL,
    first_event_15 BIGINT NOT NULL, first_event_16 BIGINT NOT NULL, first_event_17 BIGINT NOT NULL,
    first_event_18 BIGINT NOT NULL, first_event_19 BIGINT NOT NULL, first_event_20 BIGINT NOT NULL,
    first_event_21 BIGINT NOT NULL, first_event_22 BIGINT NOT NULL, first_event_23 BIGINT NOT NULL,
    first_event_24 BIGINT NOT NULL, first_event_25 BIGINT NOT NULL, first_event_26 BIGINT NOT NULL,
    first_event_27 BIGINT NOT NULL, first_event_28 BIGINT NOT NULL, first_event_29 BIGINT NOT NULL,
    first_event_30 BIGINT NOT NULL, first_event_31 BIGINT NOT NULL, first_event_32 BIGINT NOT NULL,
    first_event_33 BIGINT NOT NULL, first_event_34 BIGINT NOT NULL, first_event_35 BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE targets_days (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    duration_00 BIGINT NOT NULL, duration_01 BIGINT NOT NULL, duration_02 BIGINT NOT NULL,
    duration_03 BIGINT NOT NULL, duration_04 BIGINT NOT NULL, duration_05 BIGINT NOT NULL,
    duration_06 BIGINT NOT NULL, duration_07 BIGINT NOT NULL, duration_08 BIGINT NOT NULL,
    duration_09 BIGINT NOT NULL, duration_10 BIGINT NOT NULL, duration_11 BIGINT NOT NULL,
    duration_12 BIGINT NOT NULL, duration_13 BIGINT NOT NULL, duration_14 BIGINT NOT NULL,
    duration_15 BIGINT NOT NULL, duration_16 BIGINT NOT NULL, duration_17 BIGINT NOT NULL,
    duration_18 BIGINT NOT NULL, duration_19 BIGINT NOT NULL, duration_20 BIGINT NOT NULL,
    duration_21 BIGINT NOT NULL, duration_22 BIGINT NOT NULL, duration_23 BIGINT NOT NULL,
    duration_24 BIGINT NOT NULL, duration_25 BIGINT NOT NULL, duration_26 BIGINT NOT NULL,
    duration_27 BIGINT NOT NULL, duration_28 BIGINT NOT NULL, duration_29 BIGINT NOT NULL,
    duration_30 BIGINT NOT NULL, duration_31 BIGINT NOT NULL, duration_32 BIGINT NOT NULL,
    duration_33 BIGINT NOT NULL, duration_34 BIGINT NOT NULL, duration_35 BIGINT NOT NULL,
    first_event_00 BIGINT NOT NULL, first_event_01 BIGINT NOT NULL, first_event_02 BIGINT NOT NULL,
    first_event_03 BIGINT NOT NULL, first_event_04 BIGINT NOT NULL, first_event_05 BIGINT NOT NULL,
    first_event_06 BIGINT NOT NULL, first_event_07 BIGINT NOT NULL, first_event_08 BIGINT NOT NULL,
    first_event_09 BIGINT NOT NULL, first_event_10 BIGINT NOT NULL, first_event_11 BIGINT NOT NULL,
    first_event_12 BIGINT NOT NULL, first_event_13 BIGINT NOT NULL, first_event_14 BIGINT NOT NULL,
    first_event_15 BIGINT NOT NULL, first_event_16 BIGINT NOT NULL, first_event_17 BIGINT NOT NULL,
    first_event_18 BIGINT NOT NULL, first_event_19 BIGINT NOT NULL, first_event_20 BIGINT NOT NULL,
    first_event_21 BIGINT NOT NULL, first_event_22 BIGINT NOT NULL, first_event_23 BIGINT NOT NULL,
    first_event_24 BIGINT NOT NULL, first_event_25 BIGINT NOT NULL, first_event_26 BIGINT NOT NULL,
    first_event_27 BIGINT NOT NULL, first_event_28 BIGINT NOT NULL, first_event_29 BIGINT NOT NULL,
    first_event_30 BIGINT NOT NULL, first_event_31 BIGINT NOT NULL, first_event_32 BIGINT NOT NULL,
    first_event_33 BIGINT NOT NULL, first_event_34 BIGINT NOT NULL, first_event_35 BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE calls_quarters (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    streams BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    hits BIGINT NOT NULL,
    coalesced BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    bypassed BIGINT NOT NULL,
    saved_nano_usd BIGINT NOT NULL,
    saved_tokens BIGINT NOT NULL,
    duration_00 BIGINT NOT NULL, duration_01 BIGINT NOT NULL, duration_02 BIGINT NOT NULL,
    duration_03 BIGINT NOT NULL, duration_04 BIGINT NOT NULL, duration_05 BIGINT NOT NULL,
    duration_06 BIGINT NOT NULL, duration_07 BIGINT NOT NULL, duration_08 BIGINT NOT NULL,
    duration_09 BIGINT NOT NULL, duration_10 BIGINT NOT NULL, duration_11 BIGINT NOT NULL,
    duration_12 BIGINT NOT NULL, duration_13 BIGINT NOT NULL, duration_14 BIGINT NOT NULL,
    duration_15 BIGINT NOT NULL, duration_16 BIGINT NOT NULL, duration_17 BIGINT NOT NULL,
    duration_18 BIGINT NOT NULL, duration_19 BIGINT NOT NULL, duration_20 BIGINT NOT NULL,
    duration_21 BIGINT NOT NULL, duration_22 BIGINT NOT NULL, duration_23 BIGINT NOT NULL,
    duration_24 BIGINT NOT NULL, duration_25 BIGINT NOT NULL, duration_26 BIGINT NOT NULL,
    duration_27 BIGINT NOT NULL, duration_28 BIGINT NOT NULL, duration_29 BIGINT NOT NULL,
    duration_30 BIGINT NOT NULL, duration_31 BIGINT NOT NULL, duration_32 BIGINT NOT NULL,
    duration_33 BIGINT NOT NULL, duration_34 BIGINT NOT NULL, duration_35 BIGINT NOT NULL,
    first_event_00 BIGINT NOT NULL, first_event_01 BIGINT NOT NULL, first_event_02 BIGINT NOT NULL,
    first_event_03 BIGINT NOT NULL, first_event_04 BIGINT NOT NULL, first_event_05 BIGINT NOT NULL,
    first_event_06 BIGINT NOT NULL, first_event_07 BIGINT NOT NULL, first_event_08 BIGINT NOT NULL,
    first_event_09 BIGINT NOT NULL, first_event_10 BIGINT NOT NULL, first_event_11 BIGINT NOT NULL,
    first_event_12 BIGINT NOT NULL, first_event_13 BIGINT NOT NULL, first_event_14 BIGINT NOT NULL,
    first_event_15 BIGINT NOT NULL, first_event_16 BIGINT NOT NULL, first_event_17 BIGINT NOT NULL,
    first_event_18 BIGINT NOT NULL, first_event_19 BIGINT NOT NULL, first_event_20 BIGINT NOT NULL,
    first_event_21 BIGINT NOT NULL, first_event_22 BIGINT NOT NULL, first_event_23 BIGINT NOT NULL,
    first_event_24 BIGINT NOT NULL, first_event_25 BIGINT NOT NULL, first_event_26 BIGINT NOT NULL,
    first_event_27 BIGINT NOT NULL, first_event_28 BIGINT NOT NULL, first_event_29 BIGINT NOT NULL,
    first_event_30 BIGINT NOT NULL, first_event_31 BIGINT NOT NULL, first_event_32 BIGINT NOT NULL,
    first_event_33 BIGINT NOT NULL, first_event_34 BIGINT NOT NULL, first_event_35 BIGINT NOT NULL,
    overhead_00 BIGINT NOT NULL, overhead_01 BIGINT NOT NULL, overhead_02 BIGINT NOT NULL,
    overhead_03 BIGINT NOT NULL, overhead_04 BIGINT NOT NULL, overhead_05 BIGINT NOT NULL,
    overhead_06 BIGINT NOT NULL, overhead_07 BIGINT NOT NULL, overhead_08 BIGINT NOT NULL,
    overhead_09 BIGINT NOT NULL, overhead_10 BIGINT NOT NULL, overhead_11 BIGINT NOT NULL,
    overhead_12 BIGINT NOT NULL, overhead_13 BIGINT NOT NULL, overhead_14 BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE calls_days (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    streams BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    hits BIGINT NOT NULL,
    coalesced BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    bypassed BIGINT NOT NULL,
    saved_nano_usd BIGINT NOT NULL,
    saved_tokens BIGINT NOT NULL,
    duration_00 BIGINT NOT NULL, duration_01 BIGINT NOT NULL, duration_02 BIGINT NOT NULL,
    duration_03 BIGINT NOT NULL, duration_04 BIGINT NOT NULL, duration_05 BIGINT NOT NULL,
    duration_06 BIGINT NOT NULL, duration_07 BIGINT NOT NULL, duration_08 BIGINT NOT NULL,
    duration_09 BIGINT NOT NULL, duration_10 BIGINT NOT NULL, duration_11 BIGINT NOT NULL,
    duration_12 BIGINT NOT NULL, duration_13 BIGINT NOT NULL, duration_14 BIGINT NOT NULL,
    duration_15 BIGINT NOT NULL, duration_16 BIGINT NOT NULL, duration_17 BIGINT NOT NULL,
    duration_18 BIGINT NOT NULL, duration_19 BIGINT NOT NULL, duration_20 BIGINT NOT NULL,
    duration_21 BIGINT NOT NULL, duration_22 BIGINT NOT NULL, duration_23 BIGINT NOT NULL,
    duration_24 BIGINT NOT NULL, duration_25 BIGINT NOT NULL, duration_26 BIGINT NOT NULL,
    duration_27 BIGINT NOT NULL, duration_28 BIGINT NOT NULL, duration_29 BIGINT NOT NULL,
    duration_30 BIGINT NOT NULL, duration_31 BIGINT NOT NULL, duration_32 BIGINT NOT NULL,
    duration_33 BIGINT NOT NULL, duration_34 BIGINT NOT NULL, duration_35 BIGINT NOT NULL,
    first_event_00 BIGINT NOT NULL, first_event_01 BIGINT NOT NULL, first_event_02 BIGINT NOT NULL,
    first_event_03 BIGINT NOT NULL, first_event_04 BIGINT NOT NULL, first_event_05 BIGINT NOT NULL,
    first_event_06 BIGINT NOT NULL, first_event_07 BIGINT NOT NULL, first_event_08 BIGINT NOT NULL,
    first_event_09 BIGINT NOT NULL, first_event_10 BIGINT NOT NULL, first_event_11 BIGINT NOT NULL,
    first_event_12 BIGINT NOT NULL, first_event_13 BIGINT NOT NULL, first_event_14 BIGINT NOT NULL,
    first_event_15 BIGINT NOT NULL, first_event_16 BIGINT NOT NULL, first_event_17 BIGINT NOT NULL,
    first_event_18 BIGINT NOT NULL, first_event_19 BIGINT NOT NULL, first_event_20 BIGINT NOT NULL,
    first_event_21 BIGINT NOT NULL, first_event_22 BIGINT NOT NULL, first_event_23 BIGINT NOT NULL,
    first_event_24 BIGINT NOT NULL, first_event_25 BIGINT NOT NULL, first_event_26 BIGINT NOT NULL,
    first_event_27 BIGINT NOT NULL, first_event_28 BIGINT NOT NULL, first_event_29 BIGINT NOT NULL,
    first_event_30 BIGINT NOT NULL, first_event_31 BIGINT NOT NULL, first_event_32 BIGINT NOT NULL,
    first_event_33 BIGINT NOT NULL, first_event_34 BIGINT NOT NULL, first_event_35 BIGINT NOT NULL,
    overhead_00 BIGINT NOT NULL, overhead_01 BIGINT NOT NULL, overhead_02 BIGINT NOT NULL,
    overhead_03 BIGINT NOT NULL, overhead_04 BIGINT NOT NULL, overhead_05 BIGINT NOT NULL,
    overhead_06 BIGINT NOT NULL, overhead_07 BIGINT NOT NULL, overhead_08 BIGINT NOT NULL,
    overhead_09 BIGINT NOT NULL, overhead_10 BIGINT NOT NULL, overhead_11 BIGINT NOT NULL,
    overhead_12 BIGINT NOT NULL, overhead_13 BIGINT NOT NULL, overhead_14 BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE errors_quarters (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;

CREATE TABLE errors_days (
    group_id BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (group_id, start_ms)
)
--sqlite: WITHOUT ROWID
;
