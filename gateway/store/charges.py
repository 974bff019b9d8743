"""Charges, calls and prices as rows: which columns, in which order, by which SQL?"""

from __future__ import annotations

import orjson

from gateway.ledger import CallRecord, Intent, Settlement
from gateway.store.rows import Row, Statement, insert
from gateway.usage import Usage

COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "prompt_audio_tokens",
    "prompt_image_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "completion_audio_tokens",
    "completion_image_tokens",
)
"""The token counts of a `Usage`, as fields and as columns."""

_OPENED = (
    *("charge_id", "call_id", "attempt", "key_id", "team", "tags", "asked_model"),
    *("provider", "model", "credential", "price_digest", "bound_nano_usd", "opened_at_ms"),
    *("unpriced", "state", "owner"),
)
_SETTLED = (
    *("settled_at_ms", "cost_nano_usd", "unpriced", "error"),
    *("first_event_ms", "duration_ms", "source", "service_tier"),
    *COUNTS,
)
COST = _SETTLED.index("cost_nano_usd")
"""Where the cost stands in a settlement's row."""

CALL_COLUMNS = (
    *("call_id", "received_at_ms", "key_id", "team", "tags", "asked_model", "alias", "target"),
    *("stream", "status", "error", "attempts", "first_event_ms", "duration_ms", "overhead_us"),
    *("facts", "cache", "saved_nano_usd", "saved_tokens"),
)

OPENED_AT = _OPENED.index("opened_at_ms")
RECEIVED_AT = CALL_COLUMNS.index("received_at_ms")
DURATION = CALL_COLUMNS.index("duration_ms")
"""Where the times stand in the rows of an intent and of a call."""

_ASSIGNMENTS = ", ".join(f"{name} = v.{name}" for name in _SETTLED)
_PLACEHOLDERS = ", ".join(f"{name} = ?" for name in _SETTLED)

# The names below are this module's constants; values are always parameters.
INSERT_PRICE = (
    "INSERT INTO prices (digest, document, first_used_ms) VALUES (?, ?, ?) "
    "ON CONFLICT (digest) DO NOTHING"
)
INSERT_CHARGES = insert("charges", _OPENED)
# Conditional: a charge is settled once, and never after a sweep took it.
SETTLE_CHARGES = Statement(
    1 + len(_SETTLED),
    lambda values: (
        f"WITH v ({', '.join(_SETTLED)}, charge_id) AS (VALUES {values}) "  # noqa: S608
        f"UPDATE charges SET state = 'settled', {_ASSIGNMENTS} FROM v "
        "WHERE charges.charge_id = v.charge_id AND charges.state = 'open'"
    ),
    single=(
        f"UPDATE charges SET state = 'settled', {_PLACEHOLDERS} "  # noqa: S608
        "WHERE charge_id = ? AND state = 'open'"
    ),
)
# A row that a sweep wrote for a process that then woke up gives way to the call's own.
INSERT_CALLS = insert(
    "calls",
    CALL_COLUMNS,
    "ON CONFLICT (call_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in CALL_COLUMNS[1:]),
)

_NOTHING_USED = Usage()


def opened_row(intent: Intent) -> Row:
    """The columns of an intent, but for its owner."""
    price = intent.price
    return (
        intent.charge_id,
        intent.call_id,
        intent.attempt,
        intent.key_id,
        intent.team,
        tags_text(intent.tags),
        intent.asked_model,
        intent.provider,
        intent.model,
        intent.credential,
        price.digest if price is not None else None,
        intent.bound_nano_usd,
        intent.opened_at_ms,
        1 if price is None else 0,
        "open",
    )


def settled_row(settlement: Settlement) -> Row:
    """The columns of a settlement, and last the charge that it settles."""
    usage = settlement.usage
    used = usage or _NOTHING_USED
    return (
        settlement.settled_at_ms,
        settlement.cost_nano_usd,
        1 if settlement.cost_nano_usd is None else 0,
        settlement.error,
        settlement.first_event_ms,
        settlement.duration_ms,
        usage.source if usage is not None else None,
        used.service_tier,
        used.prompt_tokens,
        used.cached_tokens,
        used.cache_write_tokens,
        used.cache_write_1h_tokens,
        used.prompt_audio_tokens,
        used.prompt_image_tokens,
        used.completion_tokens,
        used.reasoning_tokens,
        used.completion_audio_tokens,
        used.completion_image_tokens,
        settlement.charge_id,
    )


def call_row(record: CallRecord) -> Row:
    overhead_ms = record.overhead_ms
    return (
        record.call_id,
        record.received_at_ms,
        record.key_id,
        record.team,
        tags_text(record.tags),
        record.asked_model,
        record.alias,
        record.target,
        int(record.stream),
        record.status,
        record.error,
        record.attempts,
        record.first_event_ms,
        record.duration_ms,
        round(overhead_ms * 1000) if overhead_ms is not None else None,
        record.facts,
        record.cache,
        record.saved_nano_usd,
        record.saved_tokens,
    )


def tags_text(tags: tuple[str, ...]) -> str:
    """A JSON array."""
    return orjson.dumps(tags).decode() if tags else "[]"
