"""Exports: all rows of a period, some at a time, however many there are.

Each batch begins behind the last row of the one before, by index: what is read is bounded, and no
reading transaction stays open that would keep the write-ahead log from shrinking.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from gateway.store.charges import CALL_COLUMNS, COUNTS

BATCH = 5_000

Row = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table as it is exported: ordered by `time`, then `id`; `columns` has both of them."""

    table: str
    time: str
    id: str
    columns: tuple[str, ...]


CALLS = Rows(
    table="calls",
    time="received_at_ms",
    id="call_id",
    columns=tuple(name for name in CALL_COLUMNS if name != "facts"),
)
CHARGES = Rows(
    table="charges",
    time="opened_at_ms",
    id="charge_id",
    columns=(
        *("charge_id", "call_id", "attempt", "key_id", "team", "tags", "asked_model", "provider"),
        *("model", "credential", "state", "opened_at_ms", "settled_at_ms", "first_event_ms"),
        *("duration_ms", "error", "source", "service_tier", *COUNTS, "cost_nano_usd"),
        *("bound_nano_usd", "unpriced", "price_digest"),
    ),
)


async def batches(
    db: aiosqlite.Connection, rows: Rows, since_ms: int, until_ms: int, batch: int = BATCH
) -> AsyncIterator[list[Row]]:
    """The rows of a period, oldest first. `since_ms` is included, `until_ms` not."""
    query = (
        f"SELECT {', '.join(rows.columns)} FROM {rows.table} "  # noqa: S608 - constants
        f"WHERE {rows.time} >= ? AND {rows.time} < ? AND ({rows.time}, {rows.id}) > (?, ?) "
        f"ORDER BY {rows.time}, {rows.id} LIMIT ?"
    )
    time, name = rows.columns.index(rows.time), rows.columns.index(rows.id)
    position: tuple[int, str] = (since_ms, "")
    while True:
        # From the position on, so that the index by time leads straight there.
        async with db.execute(query, (position[0], until_ms, *position, batch)) as found:
            page: list[Row] = [tuple(row) for row in await found.fetchall()]
        if not page:
            return
        yield page
        position = (page[-1][time], page[-1][name])


async def count(db: aiosqlite.Connection, rows: Rows, since_ms: int, until_ms: int) -> int:
    """How many there are."""
    query = f"SELECT COUNT(*) FROM {rows.table} WHERE {rows.time} >= ? AND {rows.time} < ?"  # noqa: S608
    async with db.execute(query, (since_ms, until_ms)) as found:
        ((number,),) = await found.fetchall()
    return int(number)
