"""Calls: which ones were there, page by page?

A page never looks at more than `LOOK_AT` calls, however rare what is asked for is: it may come
short, and go on where it stopped. Stretches of time without a match are skipped where the sums
know of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from gateway.ledger import CallRecord
from gateway.store.callrows import call_record
from gateway.store.charges import CALL_COLUMNS
from gateway.store.filters import Filter, call_conditions
from gateway.store.rollup.families import CALLS, ERRORS, QUARTER_MS, UNKNOWN_MODEL, Family
from gateway.store.rollup.sums import Value, conditions, snapshot

LOOK_AT = 40_000
MOST = 10_000
"""The longest page."""
_FIRST_CHUNK = 2_000
_CHUNK = 20_000
_MOST_CHUNKS = 100

_Position = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call; cost and tokens are those of all its attempts so far. No cost: one is unpriced."""

    record: CallRecord
    cost_nano_usd: int | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPage:
    """Newest first. `next` goes on after the last call that was looked at; None at the end.

    A page with fewer rows than were asked for and a `next` has looked long enough.
    """

    rows: list[CallRow]
    next: str | None


# The names in the statements below are this package's constants; values are always parameters.
_ROWS = f"""
SELECT {", ".join(f"calls.{name}" for name in CALL_COLUMNS)},
       CASE WHEN MAX(unpriced) = 1 THEN NULL ELSE COALESCE(SUM(cost_nano_usd), 0) END,
       COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0)
FROM calls LEFT JOIN charges ON charges.call_id = calls.call_id
WHERE calls.call_id IN ({{marks}})
GROUP BY {", ".join(f"calls.{name}" for name in CALL_COLUMNS)}
ORDER BY calls.received_at_ms DESC, calls.call_id DESC
"""  # noqa: S608
_COST = (
    "(SELECT COALESCE(SUM(cost_nano_usd), 0) FROM charges "
    "WHERE charges.call_id = looked_at.call_id) >= ?"
)
_NEWEST_FIRST = "ORDER BY received_at_ms DESC, call_id DESC"


async def page(
    db: aiosqlite.Connection,
    where: Filter,
    limit: int,
    after: str | None = None,
    look_at: int = LOOK_AT,
) -> CallPage:
    """The latest calls. `after` is the `next` of the page before. Raises `ValueError`."""
    if not 0 < limit <= MOST:
        raise ValueError(f"a page has 1 to {MOST} calls")
    since, until = where.period
    position = (until, "") if after is None else min((until, ""), _position(after))
    async with snapshot(db):
        search = _Search(db, where, since)
        ids = await search.find(position, limit + 1, look_at)
        rows = await rows_of(db, ids[:limit])
    if len(ids) > limit:
        last = rows[-1].record
        return CallPage(rows=rows, next=_text((last.received_at_ms, last.call_id)))
    return CallPage(rows=rows, next=_text(search.stopped) if search.stopped else None)


class _Search:
    """Goes back in time, a chunk after the other. `stopped` is where it gave up, if it did."""

    def __init__(self, db: aiosqlite.Connection, where: Filter, since: int) -> None:
        self._db = db
        self._where = where
        self._since = since
        self._base, self._base_values = _base(where)
        self._fits, self._fits_values = call_conditions(where)
        if where.min_cost_nano_usd is not None:
            self._fits += f" AND {_COST}"
            self._fits_values += (where.min_cost_nano_usd,)
        self.stopped: _Position | None = None

    async def find(self, position: _Position, wanted: int, look_at: int) -> list[str]:
        """The ids of the next calls that fit, if there are any within so many calls."""
        ids: list[str] = []
        at, since, chunk = position, self._since, min(max(_FIRST_CHUNK, wanted), look_at)
        for _ in range(_MOST_CHUNKS):
            ids += await self._fitting(at, since, chunk, wanted - len(ids))
            if len(ids) >= wanted:
                return ids
            end = await self._end_of(at, since, chunk)
            if end is None and since <= self._since:
                return ids
            at = end or (since, "")
            look_at -= chunk if end else 0
            if look_at <= 0:
                break
            following = await self._skip(at)
            if following is None:
                return ids
            at, since = following
            chunk = min(max(_CHUNK, wanted), look_at)
        self.stopped = at
        return ids

    async def _fitting(self, before: _Position, since: int, chunk: int, wanted: int) -> list[str]:
        # Only what the conditions need: `facts` may be long.
        text = (
            f"SELECT call_id FROM (SELECT {_LOOKED_AT} FROM calls "  # noqa: S608
            f"WHERE {self._base} AND {_BETWEEN} {_NEWEST_FIRST} LIMIT ?"
            f") AS looked_at WHERE {self._fits} {_NEWEST_FIRST} LIMIT ?"
        )
        values = (*self._base_values, since, *before)
        parameters = (*values, chunk, *self._fits_values, wanted)
        async with self._db.execute(text, parameters) as rows:
            return [call_id for (call_id,) in await rows.fetchall()]

    async def _end_of(self, before: _Position, since: int, chunk: int) -> _Position | None:
        """The last call of a chunk; None: there are no more since then."""
        text = (
            f"SELECT received_at_ms, call_id FROM calls WHERE {self._base} "  # noqa: S608
            f"AND {_BETWEEN} {_NEWEST_FIRST} LIMIT 1 OFFSET ?"
        )
        parameters = (*self._base_values, since, *before, chunk - 1)
        async with self._db.execute(text, parameters) as rows:
            row = await rows.fetchone()
        return (row[0], row[1]) if row else None

    async def _skip(self, at: _Position) -> tuple[_Position, int] | None:
        """Where to go on, and how far back from there at first; None: nothing more fits."""
        at_ms = at[0] if at[1] else at[0] - 1
        found = await next_stretch(self._db, self._where, at_ms)
        if found is None or found[1] <= self._since:
            return None
        return min(at, (found[1], "")), max(found[0], self._since)


_BETWEEN = "received_at_ms >= ? AND (received_at_ms, call_id) < (?, ?)"
_LOOKED_AT = (
    "call_id, received_at_ms, key_id, team, tags, asked_model, target, status, error, cache"
)


def _base(where: Filter) -> tuple[str, tuple[Value, ...]]:
    """What one index finds: failures, the calls of a key, or all of a stretch of time."""
    if fails(where):
        return "error IS NOT NULL", ()
    return ("key_id = ?", (where.key,)) if where.key is not None else ("1 = 1", ())


def fails(where: Filter) -> bool:
    """Can only calls with an error fit? Every answer but 200 has one."""
    return where.failed or where.error is not None or where.status not in (None, 200)


# --------------------------------------------------------------------- what can be skipped

_CACHE_MEASURES = {"hit": "hits", "coalesced": "coalesced", "miss": "misses", "bypass": "bypassed"}


async def next_stretch(
    db: aiosqlite.Connection, where: Filter, at_ms: int
) -> tuple[int, int] | None:
    """From when until when, up to a moment, calls may be that fit; None: nowhere.

    What is not summed up yet is one stretch; of what is, a quarter hour with a match is one, or
    all of it where the sums do not tell.
    """
    async with db.execute("SELECT until_ms FROM rollup_state") as rows:
        ((until_ms,),) = await rows.fetchall()
    if at_ms >= until_ms:
        return until_ms, at_ms + 1
    if not _tells(where):
        return 0, at_ms + 1
    text, parameters = _latest(where, at_ms)
    async with db.execute(text, parameters) as rows:
        ((summed,),) = await rows.fetchall()
    marks = "SELECT MAX(start_ms) FROM rollup_marks WHERE start_ms <= ?"
    async with db.execute(marks, (at_ms,)) as rows:
        ((marked,),) = await rows.fetchall()
    start_ms = max((start for start in (summed, marked) if start is not None), default=None)
    return None if start_ms is None else (start_ms, start_ms + QUARTER_MS)


def _tells(where: Filter) -> bool:
    """Can the sums tell of a quarter hour that nothing in it fits?"""
    family = ERRORS if fails(where) else CALLS
    return bool(_named(where, family)) or (family is CALLS and where.cache is not None)


def _latest(where: Filter, at_ms: int) -> tuple[str, tuple[Value, ...]]:
    family: Family = ERRORS if fails(where) else CALLS
    named = _named(where, family)
    kind = str(family.kind_for(named))
    wanted, values = conditions({name: f"grouped.{name}" for name in named}, named)
    measure = _CACHE_MEASURES.get(where.cache or "", "calls") if family is CALLS else "calls"
    text = (
        "SELECT MAX((SELECT MAX(kept.start_ms) "  # noqa: S608
        f"FROM {family.quarters} AS kept WHERE kept.group_id = grouped.id "
        f"AND kept.start_ms <= ? AND kept.{measure} > 0)) FROM rollup_groups AS grouped "
        f"WHERE grouped.family = ? AND grouped.kind = ? AND {wanted}"
    )
    return text, (at_ms, family.name, kind, *values)


def _named(where: Filter, family: Family) -> dict[str, tuple[Value, ...]]:
    named: dict[str, tuple[Value, ...]] = {}
    if where.key is not None:
        named["key_id"] = (where.key,)
    if where.team is not None:
        named["team"] = (where.team,)
    if where.model is not None:
        named["asked_model"] = (where.model, UNKNOWN_MODEL)
    if family is ERRORS:
        named |= {"error": (where.error,)} if where.error is not None else {}
        named |= {"status": (where.status,)} if where.status is not None else {}
    elif where.target is not None and not named:
        named["target"] = (where.target,)
    return named


# --------------------------------------------------------------------------- rows, positions


async def rows_of(db: aiosqlite.Connection, ids: Sequence[str]) -> list[CallRow]:
    if not ids:
        return []
    query = _ROWS.format(marks=", ".join("?" * len(ids)))
    async with db.execute(query, tuple(ids)) as rows:
        return [_row(tuple(row)) for row in await rows.fetchall()]


def _row(row: Sequence[Any]) -> CallRow:
    *columns, cost, prompt_tokens, completion_tokens = row
    return CallRow(
        record=call_record(columns),
        cost_nano_usd=cost,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def _position(after: str) -> _Position:
    received_at_ms, separator, call_id = after.partition(":")
    if not separator or not received_at_ms.isdecimal():
        raise ValueError(f"{after!r} is no position in the list of calls")
    return int(received_at_ms), call_id


def _text(position: _Position) -> str:
    return f"{position[0]}:{position[1]}"
