"""Usage: who used what, and what did it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

import aiosqlite

from gateway.store.charges import COUNTS
from gateway.store.filters import EVERYTHING, Filter, of_charges
from gateway.store.rollup.bins import Bins, bins
from gateway.store.rollup.families import USAGE
from gateway.store.rollup.sums import Question, Value, ask, extent, snapshot

GROUPS: Mapping[str, tuple[str, ...]] = {
    "key": ("key_id",),
    "team": ("team",),
    "model": ("asked_model",),
    "day": (),
    "hour": (),
    "provider": ("provider",),
    "target": ("provider", "model"),
    "tag": ("tag",),
}
"""What usage can be grouped by. `model` is the name that was asked for, `target` what served it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Sums over the charges of one group, in the order of the question's `by`.

    A call counts where its first attempt began, and at each provider or target where its first
    attempt there did: one that two providers tried counts in both providers' groups.
    `cost_nano_usd` leaves `unpriced` and `open` charges out and has lost ones at their bound.
    `estimated` attempts were counted by us, at least in part; `errors` are attempts that failed.
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
    errors: int


async def usage(
    db: aiosqlite.Connection, by: Sequence[str] = (), where: Filter = EVERYTHING, zone: tzinfo = UTC
) -> list[UsageRow]:
    """Sums per group, `by` any of `GROUPS`, days and hours in `zone`. Raises `KeyError`.

    A charge with several tags counts for each of them, one without for none.
    """
    dimensions = tuple(dict.fromkeys(name for group in by for name in GROUPS[group]))
    async with snapshot(db):
        question = Question(
            family=USAGE,
            measures=tuple(USAGE.measures),
            by=dimensions,
            where=of_charges(where),
            period=where.period,
            bins=await _bins(db, by, where, zone),
        )
        found = await ask(db, question)
    if not by and not found:
        found = {(): dict.fromkeys(USAGE.measures, 0)}
    calls = calls_measure(question)
    rows = [_row(_group(by, question, key), sums, calls) for key, sums in found.items()]
    return sorted(rows, key=lambda row: [(name is not None, name or "") for name in row.group])


async def _bins(
    db: aiosqlite.Connection, by: Sequence[str], where: Filter, zone: tzinfo
) -> Bins | None:
    if "day" not in by and "hour" not in by:
        return None
    first, last = await extent(db)
    since, until = where.period
    return bins("hour" if "hour" in by else "day", zone, max(since, first), min(until, last))


def calls_measure(question: Question) -> str:
    """Which attempts stand for their calls: the first ones of what is asked about."""
    if "model" in question.named:
        return "target_calls"
    return "provider_calls" if "provider" in question.named else "calls"


def _group(by: Sequence[str], question: Question, key: tuple[Value, ...]) -> tuple[str | None, ...]:
    names = [*(["bin"] if question.bins else []), *question.by]
    values = dict(zip(names, key, strict=True))
    if question.bins:
        hour = question.bins.label(int(values["bin"] or 0))
        values |= {"hour": hour, "day": hour.partition("T")[0]}
    values["target"] = f"{values.get('provider')}/{values.get('model')}"
    columns = {**{name: GROUPS[name][0] for name in by if len(GROUPS[name]) == 1}}
    found = (values[columns.get(name, name)] for name in by)
    return tuple(None if value is None else str(value) for value in found)


def _row(group: tuple[str | None, ...], sums: Mapping[str, int], calls: str) -> UsageRow:
    return UsageRow(
        group=group,
        calls=sums[calls],
        attempts=sums["attempts"],
        tokens={name: sums[name] for name in COUNTS},
        cost_nano_usd=sums["cost_nano_usd"],
        unpriced=sums["unpriced"],
        estimated=sums["estimated"],
        open=sums["open"],
        lost=sums["lost"],
        errors=sums["errors"],
    )
