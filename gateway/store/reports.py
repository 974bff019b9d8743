"""Reports over the ledger: who used what, which calls were there, and what happened in one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiosqlite
import orjson

from gateway.ledger import CallRecord
from gateway.store.charges import CALL_COLUMNS, COUNTS
from gateway.usage import Usage

_DAY_MS = 86_400_000
GROUPS: Mapping[str, str] = {
    "key": "key_id",
    "team": "team",
    "model": "asked_model",
    "day": f"opened_at_ms / {_DAY_MS}",
    "provider": "provider",
    "target": "provider || '/' || model",
}
"""What usage can be grouped by. `model` is the name that was asked for, `target` what served it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which charges or calls: `since_ms` is included, `until_ms` not. `key` is an id."""

    key: str | None = None
    team: str | None = None
    model: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    error: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Sums over the charges of one group, in the order of the question's `by`.

    `calls` are calls with at least one attempt; one that two providers tried counts in both
    providers' groups. `cost_nano_usd` leaves `unpriced` and `open` charges out and has lost ones
    at their bound. `estimated` attempts were counted by us, at least in part.
    """

    group: tuple[str | None, ...]
    calls: int
    attempts: int
    tokens: Mapping[str, int]
    cost_nano_usd: int
    unpriced: int
    estimated: int
    open: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call; cost and tokens are those of all its attempts so far. No cost: one is unpriced."""

    record: CallRecord
    cost_nano_usd: int | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPage:
    """Newest first. `next` continues after the last row; None at the end."""

    rows: list[CallRow]
    next: str | None


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


# The names in the statements below are this module's constants; values are always parameters.
_SUMS = f"""
    COUNT(DISTINCT call_id), COUNT(*), COALESCE(SUM(cost_nano_usd), 0),
    COALESCE(SUM(CASE WHEN state <> 'open' THEN unpriced ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN source IN ('estimated', 'partial') THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN state = 'open' THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN state = 'lost' THEN 1 ELSE 0 END), 0),
    {", ".join(f"COALESCE(SUM({name}), 0)" for name in COUNTS)}
"""
_CALLS = f"""
SELECT {", ".join(f"calls.{name}" for name in CALL_COLUMNS)},
       CASE WHEN MAX(unpriced) = 1 THEN NULL ELSE COALESCE(SUM(cost_nano_usd), 0) END,
       COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0)
FROM (SELECT * FROM calls WHERE {{conditions}}
      ORDER BY received_at_ms DESC, call_id DESC LIMIT ?) AS calls
LEFT JOIN charges ON charges.call_id = calls.call_id
GROUP BY {", ".join(f"calls.{name}" for name in CALL_COLUMNS)}
ORDER BY calls.received_at_ms DESC, calls.call_id DESC
"""  # noqa: S608
_ATTEMPTS = f"""
SELECT charge_id, attempt, provider || '/' || model, credential, state, opened_at_ms,
       settled_at_ms, first_event_ms, duration_ms, error, cost_nano_usd, bound_nano_usd,
       prices.document, source, service_tier, {", ".join(COUNTS)}
FROM charges LEFT JOIN prices ON prices.digest = charges.price_digest
WHERE call_id = ? ORDER BY attempt, charge_id
"""  # noqa: S608


class Reports:
    """Reads; they see what is committed and disturb nobody."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db

    async def usage(self, by: Sequence[str] = (), where: Filter = Filter()) -> list[UsageRow]:
        """Sums per group, `by` any of `GROUPS`; days are UTC. Raises `KeyError`."""
        groups = [GROUPS[name] for name in by]
        conditions, parameters = _conditions(where, "opened_at_ms", with_status=False)
        numbers = ", ".join(str(position) for position in range(1, len(groups) + 1))
        query = (
            f"SELECT {', '.join([*groups, _SUMS])} FROM charges WHERE {conditions}"  # noqa: S608
            + (f" GROUP BY {numbers} ORDER BY {numbers}" if groups else "")
        )
        async with self._db.execute(query, parameters) as rows:
            return [_usage_row(by, row) async for row in rows]

    async def calls(
        self, where: Filter = Filter(), limit: int = 50, after: str | None = None
    ) -> CallPage:
        """The latest calls. `after` is the `next` of the page before. Raises `ValueError`."""
        conditions, parameters = _conditions(where, "received_at_ms", with_status=True)
        if after is not None:
            conditions += " AND (received_at_ms, call_id) < (?, ?)"
            parameters += _position(after)
        query = _CALLS.format(conditions=conditions)
        async with self._db.execute(query, (*parameters, limit + 1)) as result:
            rows = [_call_row(row) async for row in result]
        more = len(rows) > limit
        last = rows[limit - 1].record if more else None
        position = f"{last.received_at_ms}:{last.call_id}" if last else None
        return CallPage(rows=rows[:limit], next=position)

    async def call(self, call_id: str) -> CallDetail | None:
        """One call with its attempts; None if there is nothing of it."""
        query = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE call_id = ?"  # noqa: S608
        async with self._db.execute(query, (call_id,)) as rows:
            row = await rows.fetchone()
        async with self._db.execute(_ATTEMPTS, (call_id,)) as rows:
            attempts = [_attempt(columns) async for columns in rows]
        if row is None and not attempts:
            return None
        return CallDetail(record=_record(tuple(row)) if row else None, attempts=attempts)


def _conditions(
    where: Filter, time: str, *, with_status: bool
) -> tuple[str, tuple[str | int, ...]]:
    asked: dict[str, str | int | None] = {
        "key_id = ?": where.key,
        "team = ?": where.team,
        "asked_model = ?": where.model,
        f"{time} >= ?": where.since_ms,
        f"{time} < ?": where.until_ms,
        "error = ?": where.error,
    }
    if with_status:
        asked["status = ?"] = where.status
    given = {text: value for text, value in asked.items() if value is not None}
    return " AND ".join(given) or "1 = 1", tuple(given.values())


def _position(after: str) -> tuple[int, str]:
    received_at_ms, separator, call_id = after.partition(":")
    if not separator or not received_at_ms.isdecimal():
        raise ValueError(f"{after!r} is no position in the list of calls")
    return int(received_at_ms), call_id


def _usage_row(by: Sequence[str], row: Sequence[Any]) -> UsageRow:
    calls, attempts, cost, unpriced, estimated, still_open, lost, *counts = row[len(by) :]
    group = (_day(value) if name == "day" else value for name, value in zip(by, row, strict=False))
    return UsageRow(
        group=tuple(group),
        calls=calls,
        attempts=attempts,
        tokens=dict(zip(COUNTS, counts, strict=True)),
        cost_nano_usd=cost,
        unpriced=unpriced,
        estimated=estimated,
        open=still_open,
        lost=lost,
    )


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * _DAY_MS / 1000, UTC).date().isoformat()


def _call_row(row: Sequence[Any]) -> CallRow:
    *columns, cost, prompt_tokens, completion_tokens = row
    return CallRow(
        record=_record(columns),
        cost_nano_usd=cost,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def _record(row: Sequence[Any]) -> CallRecord:
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
