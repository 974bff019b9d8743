"""One call: what happened in it, attempt by attempt?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite
import orjson

from gateway.ledger import CallRecord
from gateway.store.charges import CALL_COLUMNS, COUNTS
from gateway.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One charge. `price` is the document of the figures that it was, or is to be, settled with."""

    charge_id: str
    number: int
    target: str
    credential: str
    state: str
    opened_at_ms: int
    settled_at_ms: int | None
    first_event_ms: int | None
    duration_ms: int | None
    error: str | None
    usage: Usage | None
    cost_nano_usd: int | None
    bound_nano_usd: int | None
    price: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDetail:
    """One call with its attempts. `record` is None while the call is under way."""

    record: CallRecord | None
    attempts: list[Attempt]


# The names in the statements below are this package's constants; values are always parameters.
_ATTEMPTS = f"""
SELECT charge_id, attempt, provider || '/' || model, credential, state, opened_at_ms,
       settled_at_ms, first_event_ms, duration_ms, error, cost_nano_usd, bound_nano_usd,
       prices.document, source, service_tier, {", ".join(COUNTS)}
FROM charges LEFT JOIN prices ON prices.digest = charges.price_digest
WHERE call_id = ? ORDER BY attempt, charge_id
"""  # noqa: S608
_CALL = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE call_id = ?"  # noqa: S608


async def call_detail(db: aiosqlite.Connection, call_id: str) -> CallDetail | None:
    """One call with its attempts; None if there is nothing of it."""
    async with db.execute(_CALL, (call_id,)) as rows:
        row = await rows.fetchone()
    async with db.execute(_ATTEMPTS, (call_id,)) as rows:
        attempts = [_attempt(tuple(columns)) async for columns in rows]
    if row is None and not attempts:
        return None
    return CallDetail(record=call_record(tuple(row)) if row else None, attempts=attempts)


def call_record(row: Sequence[Any]) -> CallRecord:
    """A call's record, from its columns in the order of `CALL_COLUMNS`."""
    values = dict(zip(CALL_COLUMNS, row, strict=True))
    overhead_us = values.pop("overhead_us")
    values["overhead_ms"] = overhead_us / 1000 if overhead_us is not None else None
    values["tags"] = tuple(orjson.loads(values["tags"]))
    values["stream"] = bool(values["stream"])
    return CallRecord(**values)


def _attempt(row: Sequence[Any]) -> Attempt:
    (*columns, cost, bound, price, source, service_tier) = row[: -len(COUNTS)]
    charge_id, number, target, credential, state, opened, settled, first, duration, error = columns
    counts = dict(zip(COUNTS, row[-len(COUNTS) :], strict=True))
    used = Usage(source=source, service_tier=service_tier, **counts) if source else None
    return Attempt(
        charge_id=charge_id,
        number=number,
        target=target,
        credential=credential,
        state=state,
        opened_at_ms=opened,
        settled_at_ms=settled,
        first_event_ms=first,
        duration_ms=duration,
        error=error,
        usage=used,
        cost_nano_usd=cost,
        bound_nano_usd=bound,
        price=price,
    )
