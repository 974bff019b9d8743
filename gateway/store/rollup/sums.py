"""Sums: what do charges or calls of any period come to, exactly and at once?

Whole days of UTC are read from the days' sums, the rest from the quarter hours'. What is not
summed up yet, or is marked, and what a period has of a quarter hour that it cuts, is summed over
the rows themselves. All in one snapshot of the database: each row counts once.

Where the rows have been pruned, a quarter hour that a period cuts counts whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiosqlite
import orjson

from gateway.store.rollup.bins import Bins
from gateway.store.rollup.cells import add_to
from gateway.store.rollup.families import Family
from gateway.store.rollup.plan import Plan, Stretch, planned

Value = str | int | None
Where = Mapping[str, Collection[Value]]
"""Dimensions to the values that are wanted of them, any of which will do."""

EVER = (0, 2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Sums of `measures` of a family, a row for each bin, if there are any, and values of `by`."""

    family: Family
    measures: Sequence[str]
    by: Sequence[str] = ()
    where: Where | None = None
    period: Stretch = EVER
    bins: Bins | None = None

    @property
    def named(self) -> set[str]:
        return {*self.by, *(self.where or {})}


Sums = dict[tuple[Value, ...], dict[str, int]]
"""By bin, where there are any, and the values of `by`: the measures."""


async def ask(db: aiosqlite.Connection, question: Question) -> Sums:
    """Answer within the caller's `snapshot`. Groups in which nothing was have no row."""
    found: dict[tuple[Value, ...], list[int]] = {}
    kind = _kind(question)
    plan = await _plan(db, question) if kind else Plan(live=(question.period,))
    for table, stretch, left_out in plan.summed(question.family):
        text, parameters = _stored(question, str(kind), table, stretch, left_out)
        async with db.execute(text, parameters) as rows:
            for row in await rows.fetchall():
                _collect(found, question, tuple(row))
    for stretch in plan.live:
        text, parameters = _live(question, stretch)
        async with db.execute(text, parameters) as rows:
            for row in await rows.fetchall():
                _collect_live(found, question, tuple(row))
    return {
        key: dict(zip(question.measures, counts, strict=True))
        for key, counts in found.items()
        if any(counts)
    }


@asynccontextmanager
async def snapshot(db: aiosqlite.Connection) -> AsyncIterator[None]:
    """All reads within see the same state. One at a time on a connection."""
    await db.execute("BEGIN")
    try:
        yield
    except asyncio.CancelledError:
        await db.interrupt()  # else the end would wait for what nobody waits for any more
        raise
    finally:
        await db.execute("ROLLBACK")


async def extent(db: aiosqlite.Connection) -> Stretch:
    """From the oldest that the ledger knows of to the newest, if need be only as sums."""
    async with db.execute(_EXTENT) as rows:
        ((first, last),) = await rows.fetchall()
    return (0, 0) if first is None else (first, last + 1)


_EXTENT = """
SELECT MIN(first_ms), MAX(last_ms) FROM (
    SELECT MIN(opened_at_ms) AS first_ms, NULL AS last_ms FROM charges UNION ALL
    SELECT NULL, MAX(opened_at_ms) FROM charges UNION ALL
    SELECT MIN(received_at_ms), NULL FROM calls UNION ALL
    SELECT NULL, MAX(received_at_ms) FROM calls UNION ALL
    SELECT MIN(start_ms), MAX(start_ms) FROM rollup_groups AS grouped
        CROSS JOIN usage_days AS kept ON kept.group_id = grouped.id
        WHERE grouped.family = 'usage' AND grouped.kind = 'total' UNION ALL
    SELECT MIN(start_ms), MAX(start_ms) FROM rollup_groups AS grouped
        CROSS JOIN calls_days AS kept ON kept.group_id = grouped.id
        WHERE grouped.family = 'calls' AND grouped.kind = 'total'
) AS ends
"""


def _kind(question: Question) -> str | None:
    tags = (question.where or {}).get("tag", ())
    if len(tags) > 1 and "tag" not in question.by:
        return None  # a row with two of them stands in two sums
    return question.family.kind_for(question.named)


async def _plan(db: aiosqlite.Connection, question: Question) -> Plan:
    async with db.execute("SELECT until_ms, pruned_ms FROM rollup_state") as rows:
        (state,) = await rows.fetchall()
    async with db.execute("SELECT start_ms FROM rollup_marks ORDER BY start_ms") as rows:
        marks = [start async for (start,) in rows]
    by_day = question.bins is None or question.bins.whole_days
    return planned(
        question.period, by_day=by_day, until_ms=state[0], pruned_ms=state[1], marks=marks
    )


# ------------------------------------------------------------------------------ statements

_Statement = tuple[str, tuple[Value, ...]]


def _stored(
    question: Question, kind: str, table: str, stretch: Stretch, left_out: Sequence[int]
) -> _Statement:
    """Groups first: their rows are then found by the table's key."""
    family = question.family
    by = [f"grouped.{name}" for name in question.by]
    wanted, values = conditions(
        {name: f"grouped.{name}" for name in family.dimensions}, question.where or {}
    )
    without = f" AND kept.start_ms NOT IN ({_marks(left_out)})" if left_out else ""
    text = (
        f"SELECT {_shown(question, 'kept.start_ms', by, 'kept.{}')} "  # noqa: S608 - constants
        f"FROM rollup_groups AS grouped CROSS JOIN {table} AS kept ON kept.group_id = grouped.id "
        f"WHERE grouped.family = ? AND grouped.kind = ? AND {wanted} "
        f"AND kept.start_ms >= ? AND kept.start_ms < ?{without}{_grouped(question)}"
    )
    return text, (family.name, kind, *values, *stretch, *left_out)


def _live(question: Question, stretch: Stretch) -> _Statement:
    family = question.family
    where = dict(question.where or {})
    tags = where.pop("tag", None)
    wanted, values = conditions(family.dimensions, where)
    if tags is not None:
        likely, texts = tag_condition(family.dimensions["tag"], tags)
        wanted, values = f"{wanted} AND {likely}", (*values, *texts)
    by = [family.dimensions[name] for name in _live_by(question)]
    measures = [f"SUM({family.measures[name]})" for name in question.measures]
    text = (
        f"SELECT {', '.join([*_bin(question, family.time), *by, *measures])} "  # noqa: S608
        f"FROM {family.source} WHERE {family.rows} AND {wanted} "
        f"AND {family.time} >= ? AND {family.time} < ?{_grouped(question, len(_live_by(question)))}"
    )
    return text, (*values, *stretch)


def _live_by(question: Question) -> list[str]:
    """Rows are grouped by their tags as they stand, wherever one of them is asked about."""
    by = [name for name in question.by if name != "tag"]
    return [*by, "tag"] if "tag" in question.named else by


def _shown(question: Question, time: str, by: Sequence[str], measure: str) -> str:
    sums = [f"SUM({measure.format(name)})" for name in question.measures]
    return ", ".join([*_bin(question, time), *by, *sums])


def _bin(question: Question, time: str) -> list[str]:
    return [question.bins.sql(time)] if question.bins else []


def _grouped(question: Question, count: int | None = None) -> str:
    columns = (len(question.by) if count is None else count) + (question.bins is not None)
    numbers = ", ".join(str(number + 1) for number in range(columns))
    return f" GROUP BY {numbers}" if columns else ""


def conditions(columns: Mapping[str, str], where: Where) -> _Statement:
    """SQL that is true for rows with the wanted values, and its parameters."""
    parts, values = ["1 = 1"], []
    for name, wanted in where.items():
        column = columns[name]
        known = [value for value in wanted if value is not None]
        either = [f"{column} IN ({_marks(known)})"] if known else []
        either += [f"{column} IS NULL"] if None in wanted else []
        parts.append(f"({' OR '.join(either) or '1 = 0'})")
        values += known
    return " AND ".join(parts), tuple(values)


def tag_condition(column: str, tags: Collection[Value]) -> _Statement:
    """True for rows that have one of these tags: JSON arrays in which it stands as a string."""
    likely = " OR ".join([f"{column} LIKE ? ESCAPE '!'"] * len(tags))
    return f"({likely or '1 = 0'})", tuple(f"%{_escaped(tag)}%" for tag in tags)


def _escaped(tag: Value) -> str:
    text = orjson.dumps(tag).decode()
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return text


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


# --------------------------------------------------------------------------------- results


def _collect(
    found: dict[tuple[Value, ...], list[int]], question: Question, row: tuple[Any, ...]
) -> None:
    width = len(row) - len(question.measures)
    if row[width] is not None:  # a sum over no rows
        add_to(found, row[:width], row[width:])


def _collect_live(
    found: dict[tuple[Value, ...], list[int]], question: Question, row: tuple[Any, ...]
) -> None:
    if "tag" not in question.named:
        return _collect(found, question, row)
    width = len(row) - len(question.measures)
    tags = set(orjson.loads(row[width - 1]))
    wanted = (question.where or {}).get("tag")
    chosen = tags if wanted is None else tags & set(wanted)
    if "tag" not in question.by:
        if chosen:
            add_to(found, row[: width - 1], row[width:])
        return None
    place = (question.bins is not None) + list(question.by).index("tag")
    for tag in chosen:
        key = (*row[:place], tag, *row[place : width - 1])
        add_to(found, key, row[width:])
    return None
