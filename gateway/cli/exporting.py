"""Exported rows: which columns do they have, and where do they come from?

Rows come in batches, so that five million need no more memory than five thousand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import aiosqlite

from gateway.store import exports
from gateway.store.charges import COUNTS
from gateway.store.filters import Filter
from gateway.store.reports import Reports
from gateway.store.rollup.sums import extent
from gateway.store.usagereport import UsageRow

Kind = Literal["text", "whole", "number", "flag", "time", "usd", "json"]
"""A `time` is unix milliseconds, `usd` nano-dollars, `json` its text."""

Row = Sequence[Any]
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a file."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`since_ms` is included, `until_ms` not."""

    since_ms: int
    until_ms: int


def _kind(name: str) -> Kind:
    if name in ("stream", "unpriced"):
        return "flag"
    if name == "tags":
        return "json"
    if name.endswith(("_ms", "_us", "_usd", "tokens")) or name in ("status", "attempt", "attempts"):
        return "whole"
    return "text"


def _fields(columns: Sequence[str]) -> list[Field]:
    """The columns as they are, a time to read, and dollars where there is a cost."""
    found = [Field("time", "time"), *(Field(name, _kind(name)) for name in columns)]
    dollars = [Field("cost_usd", "usd")] if "cost_nano_usd" in columns else []
    return [*found, Field("key_name", "text"), *dollars]


_DIMENSIONS = ("key_id", "team", "asked_model", "provider", "model")
_SUMS = ("calls", "attempts", "errors", "unpriced", "estimated", "open", "lost")
CALLS = _fields(exports.CALLS.columns)
CHARGES = _fields(exports.CHARGES.columns)
USAGE = [
    Field("day", "text"),
    *(Field(name, "text") for name in (*_DIMENSIONS, "key_name")),
    *(Field(name, "whole") for name in (*_SUMS, *COUNTS, "cost_nano_usd")),
    Field("cost_usd", "usd"),
]


async def table_rows(
    db: aiosqlite.Connection, rows: exports.Rows, period: Period, names: Mapping[str, str]
) -> AsyncIterator[list[Row]]:
    """Calls or charges, as `CALLS` and `CHARGES` say."""
    at = {name: place for place, name in enumerate(rows.columns)}
    time, key, cost = at[rows.time], at["key_id"], at.get("cost_nano_usd")
    flags = [place for name, place in at.items() if _kind(name) == "flag"]
    async for page in exports.batches(db, rows, period.since_ms, period.until_ms):
        found: list[Row] = []
        for row in page:
            shown = list(row)
            for place in flags:
                shown[place] = bool(row[place])
            dollars = [] if cost is None else [row[cost]]
            found.append([row[time], *shown, names.get(row[key]), *dollars])
        yield found


async def usage_rows(
    db: aiosqlite.Connection, period: Period, names: Mapping[str, str]
) -> AsyncIterator[list[Row]]:
    """Sums by day of UTC, key, team, model and target: what `USAGE` says; a day at a time."""
    async for day_ms, found in usage_days(db, period):
        day = datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
        yield [
            [
                day,
                *row.group,
                names.get(row.group[0] or ""),
                *(getattr(row, name) for name in _SUMS),
                *(row.tokens[name] for name in COUNTS),
                row.cost_nano_usd,
                row.cost_nano_usd,
            ]
            for row in found
        ]


async def usage_days(
    db: aiosqlite.Connection, period: Period
) -> AsyncIterator[tuple[int, list[UsageRow]]]:
    """The days of a period with their sums by `_DIMENSIONS`, also of what was pruned."""
    reports = Reports(db)
    for since_ms, until_ms in days(period):
        where = Filter(since_ms=since_ms, until_ms=until_ms)
        found = await reports.usage(("key", "team", "model", "provider", "target"), where)
        yield since_ms, [_with_model(row) for row in found]


def _with_model(row: UsageRow) -> UsageRow:
    """A target is `provider/model`; the provider stands beside it."""
    *head, target = row.group
    model = (target or "").partition("/")[2]
    return UsageRow(
        group=(*head, model),
        tokens=row.tokens,
        cost_nano_usd=row.cost_nano_usd,
        **{name: getattr(row, name) for name in _SUMS},
    )


def days(period: Period) -> Iterator[tuple[int, int]]:
    """The days of UTC in a period; the first and the last one may be cut."""
    start = period.since_ms
    while start < period.until_ms:
        end = min((start // DAY_MS + 1) * DAY_MS, period.until_ms)
        yield start, end
        start = end


async def whole_period(
    db: aiosqlite.Connection, since_ms: int | None, until_ms: int | None, now_ms: int
) -> Period:
    """Open ends are those of the ledger, and now: what comes meanwhile is for the next export."""
    first, _ = await extent(db)
    until = now_ms if until_ms is None else min(until_ms, now_ms)
    since = first if since_ms is None else max(since_ms, min(first, until))
    return Period(since_ms=since, until_ms=max(since, until))


def month_of(unix_ms: int) -> tuple[int, int]:
    """The month of UTC in which a moment is."""
    return _month_of_day(unix_ms // DAY_MS)


@lru_cache(maxsize=1024)
def _month_of_day(day: int) -> tuple[int, int]:
    at = datetime.fromtimestamp(day * DAY_MS / 1000, UTC)
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    return int(start.timestamp() * 1000), int(end.timestamp() * 1000)
