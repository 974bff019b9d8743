"""Overviews: what does a period come to, and how did it go?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aiosqlite

from gateway.store.charges import COUNTS
from gateway.store.filters import Filter, of_calls, of_charges
from gateway.store.rollup.families import CALLS, ERRORS, TARGETS, USAGE, Family
from gateway.store.rollup.histogram import DURATION, FIRST_EVENT, OVERHEAD, Histogram
from gateway.store.rollup.sums import Question, Where, ask, snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The median and the 95th percentile in milliseconds; None of no calls.

    Of calls that went well, and mostly exact to a few percent: `gateway.store.rollup.histogram`.
    """

    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Calls as they were answered, and what their attempts used and cost.

    `errors` are calls that failed. `misses` and `bypassed` are calls for which the cache was on.
    """

    calls: int
    errors: int
    streams: int
    hits: int
    coalesced: int
    misses: int
    bypassed: int
    saved_nano_usd: int
    saved_tokens: int
    attempts: int
    cost_nano_usd: int
    unpriced: int
    estimated: int
    open: int
    lost: int
    tokens: Mapping[str, int]
    duration: Latency
    first_event: Latency
    overhead: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    status: int
    error: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """Attempts at one target; times are of those that went well."""

    provider: str
    model: str
    attempts: int
    errors: int
    duration: Latency
    first_event: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingsRow:
    group: str | None
    calls: int
    hits: int
    coalesced: int
    misses: int
    saved_nano_usd: int
    saved_tokens: int


# --------------------------------------------------------------------------------- sums


async def overview(db: aiosqlite.Connection, where: Filter) -> Overview:
    """Raises `ValueError` for a filter that calls are not summed up by."""
    async with snapshot(db):
        calls = await _totals(db, CALLS, of_calls(where), where)
        used = await _totals(db, USAGE, of_charges(where), where)
    return Overview(
        **{name: calls[name] for name in _OF_CALLS},
        **{name: used[name] for name in _OF_USAGE},
        tokens={name: used[name] for name in COUNTS},
        duration=_latency(DURATION, calls),
        first_event=_latency(FIRST_EVENT, calls),
        overhead=_latency(OVERHEAD, calls, per_ms=1000),
    )


_OF_CALLS = (
    *("calls", "errors", "streams", "hits", "coalesced", "misses", "bypassed"),
    *("saved_nano_usd", "saved_tokens"),
)
_OF_USAGE = ("attempts", "cost_nano_usd", "unpriced", "estimated", "open", "lost")


async def _totals(
    db: aiosqlite.Connection, family: Family, wanted: Where, where: Filter
) -> dict[str, int]:
    measures = tuple(family.measures)
    question = Question(family=family, measures=measures, where=wanted, period=where.period)
    found = await ask(db, question)
    return found.get((), dict.fromkeys(measures, 0))


async def errors(db: aiosqlite.Connection, where: Filter) -> list[ErrorRow]:
    """Raises `ValueError` for a filter that failures are not summed up by."""
    wanted = of_calls(where)
    for name in ("target", "cache", "tag"):
        if name in wanted:
            raise ValueError(f"failures are not summed up by {name}")
    question = Question(
        family=ERRORS,
        measures=("calls",),
        by=("status", "error"),
        where=wanted,
        period=where.period,
    )
    async with snapshot(db):
        found = await ask(db, question)
    rows = [
        ErrorRow(status=int(status or 0), error=str(error), calls=sums["calls"])
        for (status, error), sums in found.items()
    ]
    return sorted(rows, key=lambda row: (-row.calls, row.error, row.status))


async def targets(db: aiosqlite.Connection, where: Filter) -> list[TargetRow]:
    """By name. Of the filters, period, provider, target and error count."""
    known = {"provider", "model", "error"}
    wanted = {name: values for name, values in of_charges(where).items() if name in known}
    question = Question(
        family=TARGETS,
        measures=tuple(TARGETS.measures),
        by=("provider", "model"),
        where=wanted,
        period=where.period,
    )
    async with snapshot(db):
        found = await ask(db, question)
    rows = [
        TargetRow(
            provider=str(provider),
            model=str(model),
            attempts=sums["attempts"],
            errors=sums["errors"],
            duration=_latency(DURATION, sums),
            first_event=_latency(FIRST_EVENT, sums),
        )
        for (provider, model), sums in found.items()
    ]
    return sorted(rows, key=lambda row: (row.provider, row.model))


_SAVINGS_BY = {"key": "key_id", "team": "team", "model": "asked_model"}
_SAVINGS = ("calls", "hits", "coalesced", "misses", "saved_nano_usd", "saved_tokens")


async def savings(db: aiosqlite.Connection, by: str, where: Filter) -> list[SavingsRow]:
    """Only groups that the cache was on for. Raises `KeyError`, `ValueError`."""
    question = Question(
        family=CALLS,
        measures=_SAVINGS,
        by=(_SAVINGS_BY[by],),
        where=of_calls(where),
        period=where.period,
    )
    async with snapshot(db):
        found = await ask(db, question)
    rows = [
        SavingsRow(group=None if group is None else str(group), **sums)
        for (group,), sums in found.items()
        if sums["hits"] or sums["coalesced"] or sums["misses"]
    ]
    return sorted(rows, key=lambda row: (-row.saved_nano_usd, row.group or ""))


def _latency(histogram: Histogram, counts: Mapping[str, int], per_ms: int = 1) -> Latency:
    half, most = (histogram.quantile(counts, share) for share in (0.5, 0.95))
    return Latency(
        p50_ms=None if half is None else half / per_ms,
        p95_ms=None if most is None else most / per_ms,
    )


# --------------------------------------------------------------------------------- keys

# By index, one look for each key. After a prune the sums still know it to the quarter hour.
_LAST_USED = """
SELECT id, (SELECT MAX(received_at_ms) FROM calls WHERE calls.key_id = keys.id),
       (SELECT MAX((SELECT MAX(kept.start_ms) FROM calls_quarters AS kept
                    WHERE kept.group_id = grouped.id))
        FROM rollup_groups AS grouped
        WHERE grouped.family = 'calls' AND grouped.kind = 'full' AND grouped.key_id = keys.id)
FROM keys
"""


async def last_used(db: aiosqlite.Connection) -> dict[str, int]:
    """Keys to when they last made a call."""
    async with db.execute(_LAST_USED) as rows:
        found = {key: max(row, summed or 0) if row else summed async for key, row, summed in rows}
    return {key: at_ms for key, at_ms in found.items() if at_ms is not None}
