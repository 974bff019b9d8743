"""Cells: what are the sums of a quarter hour, and how do they get into their tables?

A cell is one row of sums: of one group in one quarter hour. A day's row is the sum of its quarter
hours' and is kept so: what is replaced is subtracted, what is new is added.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite
import orjson

from gateway.store.rollup.families import DAY_MS, DIMENSIONS, FAMILIES, QUARTER_MS, Family
from gateway.store.rollup.marks import Mark
from gateway.store.rows import Statement, insert

_GROUP_COLUMNS = ("id", "name", "family", "kind", *DIMENSIONS)
_INSERT_GROUPS = insert("rollup_groups", _GROUP_COLUMNS)


@dataclass(frozen=True, slots=True)
class Cell:
    """`values` are the dimensions of its kind, `sums` the family's measures, in their orders."""

    start_ms: int
    kind: str
    values: tuple[Any, ...]
    sums: tuple[int, ...]


Cells = Mapping[str, list[Cell]]
"""By family."""


async def read_cells(db: aiosqlite.Connection, marks: Sequence[Mark]) -> Cells:
    """The sums of these quarter hours over the rows that there are."""
    found: dict[str, list[Cell]] = {family.name: [] for family in FAMILIES}
    for family in FAMILIES:
        for start_ms, end_ms in stretches([mark.start_ms for mark in marks]):
            for statement, read in _STATEMENTS[family.name]:
                async with db.execute(statement, (start_ms, end_ms)) as rows:
                    found[family.name] += read(family, await rows.fetchall())
    return found


def stretches(starts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Quarter hours that follow each other, as one stretch: its start and its end."""
    first = end = None
    for start in sorted(starts):
        if start != end:
            if first is not None and end is not None:
                yield first, end
            first = start
        end = start + QUARTER_MS
    if first is not None and end is not None:
        yield first, end


# ------------------------------------------------------------------------------- reading


def _columns(family: Family) -> list[str]:
    kept = set().union(*family.kinds.values())
    return [name for name in family.dimensions if name in kept and name != "tag"]


def _by_kind(family: Family) -> str:
    """The sums of all kinds but tags: the rows are read once, and the finest sums added up."""
    columns, measures = _columns(family), family.measures
    finest = [f"{family.dimensions[name]} AS {name}" for name in columns]
    summed = [f"SUM({measure}) AS {name}" for name, measure in measures.items()]
    numbers = ", ".join(str(number + 1) for number in range(1 + len(columns)))
    start = f"{family.time} / {QUARTER_MS} * {QUARTER_MS} AS start_ms"
    parts = [
        _part(kind, names, columns, list(measures))
        for kind, names in family.kinds.items()
        if "tag" not in names
    ]
    return (
        f"WITH finest AS (SELECT {', '.join([start, *finest, *summed])} "  # noqa: S608
        f"FROM {family.source} WHERE {family.rows} AND {family.time} >= ? AND {family.time} < ? "
        f"GROUP BY {numbers}) {' UNION ALL '.join(parts)}"
    )


def _part(kind: str, names: Sequence[str], columns: Sequence[str], measures: Sequence[str]) -> str:
    shown = [name if name in names else "NULL" for name in columns]
    summed = [f"SUM({name})" for name in measures]
    return (
        f"SELECT '{kind}', start_ms, {', '.join([*shown, *summed])} "  # noqa: S608
        f"FROM finest GROUP BY {', '.join(['start_ms', *names])}"
    )


def _read_kinds(family: Family, rows: Iterable[Sequence[Any]]) -> Iterator[Cell]:
    columns = _columns(family)
    places = {
        kind: [2 + columns.index(name) for name in names]
        for kind, names in family.kinds.items()
        if "tag" not in names
    }
    for row in rows:
        values = tuple(row[place] for place in places[row[0]])
        yield Cell(row[1], row[0], values, tuple(row[2 + len(columns) :]))


def _by_tags(family: Family) -> str:
    summed = [f"SUM({measure})" for measure in family.measures.values()]
    start = f"{family.time} / {QUARTER_MS} * {QUARTER_MS}"
    return (
        f"SELECT {', '.join([start, 'tags', *summed])} "  # noqa: S608
        f"FROM {family.source} WHERE {family.rows} AND {family.time} >= ? AND {family.time} < ? "
        "AND tags <> '[]' GROUP BY 1, 2"
    )


def _read_tags(family: Family, rows: Iterable[Sequence[Any]]) -> Iterator[Cell]:
    sums: dict[tuple[int, str], list[int]] = {}
    for start_ms, tags, *counts in rows:
        for tag in set(orjson.loads(tags)):
            add_to(sums, (start_ms, tag), counts)
    for (start_ms, tag), added in sums.items():
        yield Cell(start_ms, "tag", (tag,), tuple(added))


def add_to(sums: dict[Any, list[int]], key: object, counts: Sequence[int]) -> None:
    """Add the counts to what is there under the key."""
    there = sums.get(key)
    sums[key] = (
        list(counts) if there is None else [a + b for a, b in zip(there, counts, strict=True)]
    )


_STATEMENTS = {
    family.name: [(_by_kind(family), _read_kinds)]
    + ([(_by_tags(family), _read_tags)] if "tag" in family.kinds else [])
    for family in FAMILIES
}


# ------------------------------------------------------------------------------- writing


def _add(table: str, family: Family) -> Statement:
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in family.measures)
    columns = ("group_id", "start_ms", *family.measures)
    return insert(table, columns, f"ON CONFLICT (group_id, start_ms) DO UPDATE SET {added}")


def _subtract(family: Family) -> str:
    negative = ", ".join(f"-stale.{name}" for name in family.measures)
    reduced = ", ".join(
        f"{name} = {family.days}.{name} + excluded.{name}" for name in family.measures
    )
    return (
        f"INSERT INTO {family.days} (group_id, start_ms, {', '.join(family.measures)}) "  # noqa: S608
        f"SELECT stale.group_id, ?, {negative} FROM rollup_groups AS grouped "
        f"CROSS JOIN {family.quarters} AS stale "
        "WHERE stale.group_id = grouped.id AND stale.start_ms = ? AND grouped.family = ? "
        f"ON CONFLICT (group_id, start_ms) DO UPDATE SET {reduced}"
    )


_ADD_QUARTERS = {
    family.name: insert(family.quarters, ("group_id", "start_ms", *family.measures))
    for family in FAMILIES
}
_ADD_DAYS = {family.name: _add(family.days, family) for family in FAMILIES}
_SUBTRACT = {family.name: _subtract(family) for family in FAMILIES}


def replace_cells(
    db: sqlite3.Connection, marks: Sequence[Mark], cells: Cells, known: Mapping[str, int]
) -> dict[str, int]:
    """Put the sums in their places, and take the marks away; all in the caller's transaction.

    A quarter hour whose mark has another version by now is left as it is: its rows have changed.
    `known` are ids of groups by name; those that were missing are returned.
    """
    current: dict[int, int] = dict(db.execute(_VERSIONS).fetchall())
    fresh = {mark.start_ms for mark in marks if current.get(mark.start_ms) == mark.version}
    for mark in marks:
        if mark.start_ms in fresh and mark.summed:
            _take_out(db, mark.start_ms)
    found: dict[str, int] = {}
    for family in FAMILIES:
        chosen = [cell for cell in cells[family.name] if cell.start_ms in fresh]
        names = [_name(family, cell) for cell in chosen]
        found |= _find_groups(db, family, dict(zip(names, chosen, strict=True)), {**known, **found})
        ids = {**known, **found}
        placed = [(ids[name], cell) for name, cell in zip(names, chosen, strict=True)]
        _write(db, family, placed)
    db.executemany("DELETE FROM rollup_marks WHERE start_ms = ?", [(start,) for start in fresh])
    return found


_VERSIONS = "SELECT start_ms, version FROM rollup_marks"


def _take_out(db: sqlite3.Connection, start_ms: int) -> None:
    day_ms = start_ms - start_ms % DAY_MS
    for family in FAMILIES:
        db.execute(_SUBTRACT[family.name], (day_ms, start_ms, family.name))
        db.execute(
            f"DELETE FROM {family.quarters} WHERE start_ms = ? AND group_id IN "  # noqa: S608
            "(SELECT id FROM rollup_groups WHERE family = ?)",
            (start_ms, family.name),
        )


def _write(db: sqlite3.Connection, family: Family, placed: Sequence[tuple[int, Cell]]) -> None:
    _ADD_QUARTERS[family.name].execute(
        db, [(group, cell.start_ms, *cell.sums) for group, cell in placed]
    )
    days: dict[tuple[int, int], list[int]] = {}
    for group, cell in placed:
        add_to(days, (group, cell.start_ms - cell.start_ms % DAY_MS), cell.sums)
    _ADD_DAYS[family.name].execute(db, [(*place, *sums) for place, sums in days.items()])


def _find_groups(
    db: sqlite3.Connection, family: Family, cells: Mapping[str, Cell], known: Mapping[str, int]
) -> dict[str, int]:
    """The ids of groups that are not known yet, made where they are missing."""
    found: dict[str, int] = {}
    made: list[tuple[Any, ...]] = []
    (last,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM rollup_groups").fetchone()
    for name, cell in cells.items():
        if name in known:
            continue
        row = db.execute("SELECT id FROM rollup_groups WHERE name = ?", (name,)).fetchone()
        found[name] = row[0] if row else last + len(made) + 1
        if row is None:
            values = dict(zip(family.kinds[cell.kind], cell.values, strict=True))
            dimensions = (values.get(dimension) for dimension in DIMENSIONS)
            made.append((found[name], name, family.name, cell.kind, *dimensions))
    _INSERT_GROUPS.execute(db, made)
    return found


def _name(family: Family, cell: Cell) -> str:
    return orjson.dumps([family.name, cell.kind, *cell.values]).decode()
