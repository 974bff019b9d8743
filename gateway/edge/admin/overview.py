"""`/overview`: what did a period cost, who spent it, and how did it go?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace

from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.overtime import BY, SERIES, STEPS, Frame, over_time
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.periods import PERIOD, period_of, zone_of
from gateway.edge.admin.shapes import (
    JSON,
    Fields,
    Many,
    Maybe,
    Number,
    Parameter,
    Text,
    Whole,
    invalid,
)
from gateway.store.administration import Administration
from gateway.store.reports import Filter, Overview, UsageRow
from gateway.store.rollup.bins import BinName

_DAY_MS = 86_400_000
_USUAL_DAYS = 30
_HOURS_UNTIL_DAYS = 3
_LISTED = 20
NO_NAMES: Mapping[str, str] = {}

_LATENCY = Fields({"p50": Maybe(Number()), "p95": Maybe(Number())}, name="Latency")
_SUMS = ("calls", "errors", "cost_nano_usd", "unpriced", "saved_nano_usd", "saved_tokens")
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")
TOTALS = Fields(
    {
        **{name: Whole() for name in (*_SUMS, *_TOKENS, "cache_hits", "cache_lookups")},
        **dict.fromkeys(("duration_ms", "first_event_ms", "overhead_ms"), _LATENCY),
    },
    name="Totals",
)
_SPENDER_SUMS = ("calls", "attempts", "errors", "cost_nano_usd", "unpriced")
SPENDER = Fields(
    {
        "id": Maybe(Text(free=True)),
        "name": Text(free=True),
        **{name: Whole() for name in (*_SPENDER_SUMS, "prompt_tokens", "completion_tokens")},
    },
    name="Spender",
)
_OVERVIEW = Fields(
    {
        "since_ms": Whole(),
        "until_ms": Whole(),
        "totals": TOTALS,
        "previous": TOTALS,
        "series": SERIES,
        "errors": Many(Fields({"kind": Text(free=True), "status": Whole(), "calls": Whole()})),
        "models": Many(SPENDER),
        "keys": Many(SPENDER),
        "teams": Many(SPENDER),
    },
    name="Overview",
)
_QUERY: Mapping[str, Parameter] = {
    **PERIOD,
    "by": Text(choices=BY),
    "step": Text(choices=STEPS),
    "key": Text(),
    "team": Text(),
    "model": Text(),
}


class OverviewPage:
    """All that the first page of the dashboard shows."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/overview",
            summary="A period's totals, those of the one before, series, and who spent most.",
            act=self.show,
            query=_QUERY,
            answer=_OVERVIEW,
        )

    async def show(self, ask: Ask) -> JSON:
        frame = _frame(ask, self._parts.desk.clock())
        try:
            # Two readers, so that the two halves take their time together.
            told, series = await asyncio.gather(self._told(frame.where), self._over_time(frame))
        except ValueError as error:
            raise invalid("step", f"cannot be used: {error}") from None
        period = {"since_ms": frame.where.since_ms, "until_ms": frame.where.until_ms}
        return {**period, **told, "series": series}

    async def _told(self, where: Filter) -> JSON:
        async with self._parts.desk.looking() as look:
            return await _told(look, where)

    async def _over_time(self, frame: Frame) -> JSON:
        async with self._parts.desk.looking() as look:
            return await over_time(look, frame)


def _frame(ask: Ask, now_ms: int) -> Frame:
    """The last days, unless a period is given."""
    since_ms, until_ms = period_of(ask.query)
    until_ms = until_ms or now_ms
    since_ms = max(0, until_ms - _USUAL_DAYS * _DAY_MS) if since_ms is None else since_ms
    if since_ms >= until_ms:
        raise invalid("since", "lies in the future")
    usual: BinName = "hour" if until_ms - since_ms <= _HOURS_UNTIL_DAYS * _DAY_MS else "day"
    return Frame(
        where=Filter(
            since_ms=since_ms,
            until_ms=until_ms,
            key=ask.query.get("key"),
            team=ask.query.get("team"),
            model=ask.query.get("model"),
        ),
        zone=zone_of(ask.query),
        step=ask.query.get("step", usual),
        by=ask.query.get("by", "model"),
    )


def _before(where: Filter) -> Filter:
    """The period before, as long as this one."""
    since_ms, until_ms = where.period
    return replace(where, since_ms=max(0, since_ms - (until_ms - since_ms)), until_ms=since_ms)


async def _told(look: Administration, where: Filter) -> JSON:
    reports = look.reports
    failures = await reports.errors(where)
    keys = _largest(await reports.usage(("key",), where))
    names = await look.keys.names([row.group[0] for row in keys if row.group[0]])
    return {
        "totals": _totals(await reports.overview(where)),
        "previous": _totals(await reports.overview(_before(where))),
        "errors": [{"kind": e.error, "status": e.status, "calls": e.calls} for e in failures],
        "models": [_spender(row) for row in _largest(await reports.usage(("model",), where))],
        "teams": [_spender(row) for row in _largest(await reports.usage(("team",), where))],
        "keys": [_spender(row, names) for row in keys],
    }


def _totals(found: Overview) -> JSON:
    latencies = {
        "duration_ms": found.duration,
        "first_event_ms": found.first_event,
        "overhead_ms": found.overhead,
    }
    return {
        **{name: getattr(found, name) for name in _SUMS},
        **{name: found.tokens[name] for name in _TOKENS},
        "cache_hits": found.hits + found.coalesced,
        "cache_lookups": found.hits + found.coalesced + found.misses,
        **{name: {"p50": seen.p50_ms, "p95": seen.p95_ms} for name, seen in latencies.items()},
    }


def _largest(rows: list[UsageRow]) -> list[UsageRow]:
    return sorted(rows, key=lambda row: (-row.cost_nano_usd, -row.calls))[:_LISTED]


def _spender(row: UsageRow, names: Mapping[str, str] = NO_NAMES) -> JSON:
    (group,) = row.group
    return {
        "id": group,
        "name": names.get(group or "", group or "none"),
        **{name: getattr(row, name) for name in _SPENDER_SUMS},
        "prompt_tokens": row.tokens["prompt_tokens"],
        "completion_tokens": row.tokens["completion_tokens"],
    }
