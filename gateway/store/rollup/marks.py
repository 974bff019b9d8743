"""Marks: which quarter hours have to be summed up, again or for the first time?

Whatever writes a row into a quarter hour that is summed up already marks it in the same
transaction. While a quarter hour is marked, its rows count and not its sums: so every report is
exact at any time, and each row counts once.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import repeat

from gateway.store.rollup.families import QUARTER_MS

_UNTIL = "SELECT until_ms FROM rollup_state"
_MARK = (
    "INSERT INTO rollup_marks (start_ms, version, summed) VALUES (?, ?, 1) "
    "ON CONFLICT (start_ms) DO UPDATE SET version = excluded.version"
)
_CLAIM = (
    "UPDATE rollup_state SET owner = ? WHERE owner = ? OR NOT EXISTS (SELECT 1 FROM processes "
    "WHERE processes.id = rollup_state.owner AND processes.lease_until_ms > ?)"
)
_FIRST_ROW = (
    "SELECT MIN(at_ms) FROM ("
    "SELECT MIN(opened_at_ms) AS at_ms FROM charges WHERE opened_at_ms >= ? UNION ALL "
    "SELECT MIN(received_at_ms) AS at_ms FROM calls WHERE received_at_ms >= ?) AS firsts"
)
_NEW_MARK = "INSERT INTO rollup_marks (start_ms, version, summed) VALUES (?, ?, 0)"
_MARKED = (
    "SELECT start_ms, version, summed FROM rollup_marks "
    "WHERE start_ms >= (SELECT pruned_ms FROM rollup_state) ORDER BY start_ms"
)
_OPEN = "SELECT DISTINCT opened_at_ms / ? FROM charges WHERE state = 'open'"


@dataclass(frozen=True, slots=True)
class Mark:
    """A quarter hour to sum up. `summed`: there are sums already, which are stale.

    No mark has the `version` of another one: who was overtaken while it read must not take a
    mark that came since for its own.
    """

    start_ms: int
    version: int
    summed: bool


def quarter(at_ms: int) -> int:
    """When the quarter hour of a moment began."""
    return at_ms - at_ms % QUARTER_MS


def mark(
    db: sqlite3.Connection, times_ms: Collection[int], lasting_ms: Iterable[int] = repeat(0)
) -> None:
    """Tell that rows of these moments are written, in the transaction that writes them.

    A row that replaces another one says how long after its own moment that may have been.
    """
    (until_ms,) = db.execute(_UNTIL).fetchone()
    if not times_ms or min(times_ms) >= until_ms:
        return
    spans = [
        range(quarter(at_ms), min(at_ms + lasted_ms + 1, until_ms), QUARTER_MS)
        for at_ms, lasted_ms in zip(times_ms, lasting_ms, strict=False)
        if at_ms < until_ms
    ]
    for start_ms in set().union(*spans):
        db.execute(_MARK, (start_ms, _new_version()))


def claim(db: sqlite3.Connection, owner: str, now_ms: int, before_ms: int, most: int) -> list[Mark]:
    """Take the next quarter hours to sum up, at most so many; none if another process does it.

    Those that end by `before_ms` are marked, so that from now on late rows are noticed. One with
    an open charge keeps its mark until that is settled.
    """
    if db.execute(_CLAIM, (owner, owner, now_ms)).rowcount == 0:
        return []
    _advance(db, quarter(before_ms), most)
    still_open = {number * QUARTER_MS for (number,) in db.execute(_OPEN, (QUARTER_MS,))}
    marks = [Mark(start, version, bool(summed)) for start, version, summed in db.execute(_MARKED)]
    return [mark for mark in marks if mark.start_ms not in still_open][:most]


def _advance(db: sqlite3.Connection, end_ms: int, most: int) -> None:
    (until_ms,) = db.execute(_UNTIL).fetchone()
    if until_ms >= end_ms:
        return
    (first_ms,) = db.execute(_FIRST_ROW, (until_ms, until_ms)).fetchone()
    start_ms = end_ms if first_ms is None else max(until_ms, quarter(first_ms))
    end_ms = min(end_ms, start_ms + most * QUARTER_MS)
    starts = range(start_ms, end_ms, QUARTER_MS)
    db.executemany(_NEW_MARK, [(start, _new_version()) for start in starts])
    db.execute("UPDATE rollup_state SET until_ms = ?", (end_ms,))


def _new_version() -> int:
    return secrets.randbits(62)
