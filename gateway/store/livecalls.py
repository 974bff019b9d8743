"""Live calls: which calls have ended since somebody last looked, in any process?

A call's row is written when it ends, so the time it was received is no order to follow: a long
call comes after younger ones. Rows are followed in the order they were written, which SQLite
numbers. After a VACUUM the numbers may begin lower: a place beyond the last one is the last one.
"""

from __future__ import annotations

import aiosqlite

from gateway.store import callpages
from gateway.store.callpages import CallRow

AT_ONCE = 200

_LAST = "SELECT COALESCE(MAX(rowid), 0) FROM calls"
_NEXT = "SELECT rowid, call_id FROM calls WHERE rowid > ? ORDER BY rowid LIMIT ?"


async def last_place(db: aiosqlite.Connection) -> int:
    """Where the calls end that are there now."""
    async with db.execute(_LAST) as rows:
        ((last,),) = await rows.fetchall()
    return int(last)


async def calls_after(
    db: aiosqlite.Connection, place: int, limit: int = AT_ONCE
) -> list[tuple[int, CallRow]]:
    """The next calls, each with its place, in the order they ended."""
    async with db.execute(_NEXT, (min(place, await last_place(db)), limit)) as rows:
        places = {call_id: number async for number, call_id in rows}
    found = await callpages.rows_of(db, list(places)) if places else []
    return sorted(((places[row.record.call_id], row) for row in found), key=lambda pair: pair[0])
