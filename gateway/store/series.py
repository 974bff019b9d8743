"""Series: how did it change with time, hour by hour or day by day of a time zone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

import aiosqlite

from gateway.store.filters import Filter, of_calls, of_charges
from gateway.store.rollup.bins import BinName, Bins, bins
from gateway.store.rollup.families import CALLS, USAGE
from gateway.store.rollup.histogram import DURATION, FIRST_EVENT
from gateway.store.rollup.sums import Question, Sums, Value, ask, extent, snapshot

MOST_BINS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A value for each bin. `group` has the values of `by`; `other` is all that has no line."""

    group: tuple[str | None, ...]
    values: list[int] | list[float | None]
    other: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`labels` are days or hours as a clock of the zone shows them, `starts_ms` their beginnings.

    Lines are in the order of their sums, the largest first; a line of others is the last one.
    """

    labels: list[str]
    starts_ms: list[int]
    lines: list[Line]


_CALL_GROUPS = {
    "key": ("key_id",),
    "team": ("team",),
    "model": ("asked_model",),
    "target": ("target",),
}
_USAGE_GROUPS = {
    **_CALL_GROUPS,
    "target": ("provider", "model"),
    "provider": ("provider",),
    "tag": ("tag",),
}
_MEASURES = {
    "cost_nano_usd": (USAGE, ("cost_nano_usd",)),
    "tokens": (USAGE, ("prompt_tokens", "completion_tokens")),
    "prompt_tokens": (USAGE, ("prompt_tokens",)),
    "completion_tokens": (USAGE, ("completion_tokens",)),
    "attempts": (USAGE, ("attempts",)),
    "calls": (CALLS, ("calls",)),
    "errors": (CALLS, ("errors",)),
    "hits": (CALLS, ("hits", "coalesced")),
    "saved_nano_usd": (CALLS, ("saved_nano_usd",)),
    "saved_tokens": (CALLS, ("saved_tokens",)),
}
SERIES = tuple(_MEASURES)
"""What there are series of."""


async def series(
    db: aiosqlite.Connection,
    measure: str,
    by: str | None,
    where: Filter,
    zone: tzinfo = UTC,
    name: BinName = "day",
    top: int = 8,
) -> Series:
    """Raises `KeyError` for a measure or group there is none of, `ValueError` for a filter.

    A row with several tags is in several lines, so tags have no line of others.
    """
    family, measures = _MEASURES[measure]
    groups = (_USAGE_GROUPS if family is USAGE else _CALL_GROUPS)[by] if by else ()
    wanted = of_charges(where) if family is USAGE else of_calls(where)
    async with snapshot(db):
        period, frame = await _frame(db, where, zone, name)
        question = Question(family=family, measures=measures, where=wanted, period=period)
        largest = await _largest(db, replace(question, by=groups), top) if by else []
        binned = replace(question, bins=frame)
        lines = await ask(db, _only(binned, groups, largest)) if largest else {}
        whole = await ask(db, binned)
    numbers = _numbers(frame, period)
    found = [
        Line(group=_texts(group), values=[_sum(lines, (n, *group)) for n in numbers])
        for group in largest
    ]
    others = [
        _sum(whole, (number,)) - sum(int(line.values[place] or 0) for line in found)
        for place, number in enumerate(numbers)
    ]
    if not by or (by != "tag" and any(others)):
        found.append(Line(group=(), values=others, other=by is not None))
    return _series(frame, numbers, found)


async def latencies(
    db: aiosqlite.Connection, where: Filter, zone: tzinfo = UTC, name: BinName = "day"
) -> Series:
    """Four lines: `duration` and `first_event`, each `p50` and `p95`, in milliseconds."""
    measures = (*DURATION.buckets, *FIRST_EVENT.buckets)
    async with snapshot(db):
        period, frame = await _frame(db, where, zone, name)
        question = Question(
            family=CALLS, measures=measures, where=of_calls(where), period=period, bins=frame
        )
        found = await ask(db, question)
    numbers = _numbers(frame, period)
    nothing = dict.fromkeys(measures, 0)
    lines = [
        Line(
            group=(histogram.name, label),
            values=[histogram.quantile(found.get((n,), nothing), share) for n in numbers],
        )
        for histogram in (DURATION, FIRST_EVENT)
        for label, share in (("p50", 0.5), ("p95", 0.95))
    ]
    return _series(frame, numbers, lines)


async def _frame(
    db: aiosqlite.Connection, where: Filter, zone: tzinfo, name: BinName
) -> tuple[tuple[int, int], Bins]:
    """The period with ends, where it has none: those of the ledger."""
    first, last = await extent(db)
    since = first if where.since_ms is None else where.period[0]
    until = max(last, since) if where.until_ms is None else where.period[1]
    return (since, until), bins(name, zone, since, until)


def _numbers(frame: Bins, period: tuple[int, int]) -> range:
    numbers = frame.between(*period) if period[0] < period[1] else range(0)
    if len(numbers) > MOST_BINS:
        raise ValueError(f"more than {MOST_BINS} {frame.name}s")
    return numbers


async def _largest(
    db: aiosqlite.Connection, question: Question, top: int
) -> list[tuple[Value, ...]]:
    found = await ask(db, question)
    ranked = sorted(
        found, key=lambda key: (-sum(found[key].values()), _texts(key) != (None,), str(key))
    )
    return [key for key in ranked if sum(found[key].values())][:top]


def _only(
    question: Question, groups: tuple[str, ...], chosen: Sequence[tuple[Value, ...]]
) -> Question:
    """Of some groups; of several dimensions it may find more."""
    values = {name: tuple({key[n] for key in chosen}) for n, name in enumerate(groups)}
    where = {**values, **(question.where or {})}
    return replace(question, by=groups, where=where)


def _sum(sums: Sums, key: tuple[Value, ...]) -> int:
    return sum(sums[key].values()) if key in sums else 0


def _texts(group: tuple[Value, ...]) -> tuple[str | None, ...]:
    return tuple(None if value is None else str(value) for value in group)


def _series(frame: Bins, numbers: Sequence[int], lines: list[Line]) -> Series:
    return Series(
        labels=[frame.label(number) for number in numbers],
        starts_ms=[frame.start_ms(number) for number in numbers],
        lines=lines,
    )
