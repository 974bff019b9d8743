"""Retention: how do old calls and charges go, while what they came to is kept?

A prune first says in one short transaction from when on the rows count (`pruned_ms`); before that
reports read the sums only. Then it deletes the rows, some at a time, so that no call waits for it.
One that is interrupted goes on the next time; reports are the same at any moment of it.

Nothing goes that is not summed up, so never an open charge. Budgets keep counters of their own,
and prices stay. The file does not shrink: what becomes free in it is used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiosqlite

from gateway.store.rollup.families import DAY_MS
from gateway.store.rollup.marks import quarter

BATCH = 1_000
_PAUSE_S = 0.02
YOUNGEST_MS = DAY_MS
"""Younger rows stay: leases and idempotency may still need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """What a prune will delete. `before_ms` may be earlier than was asked for: at a quarter hour,
    and not past what is summed up.
    """

    before_ms: int
    calls: int
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What has been deleted so far."""

    calls: int
    charges: int


_CUT = """
SELECT MIN(limit_ms) FROM (
    SELECT until_ms AS limit_ms FROM rollup_state UNION ALL
    SELECT MIN(start_ms) FROM rollup_marks
    WHERE start_ms >= (SELECT pruned_ms FROM rollup_state)
) AS limits WHERE limit_ms IS NOT NULL
"""
_COUNT_CALLS = "SELECT COUNT(*) FROM calls WHERE received_at_ms < ?"
_COUNT_CHARGES = "SELECT COUNT(*) FROM charges WHERE opened_at_ms < ?"
_DELETE_CALLS = """
DELETE FROM calls WHERE call_id IN (
    SELECT call_id FROM calls WHERE received_at_ms < ? ORDER BY received_at_ms LIMIT ?
)"""
_DELETE_CHARGES = """
DELETE FROM charges WHERE charge_id IN (
    SELECT charge_id FROM charges WHERE opened_at_ms < ? AND state <> 'open'
    ORDER BY opened_at_ms LIMIT ?
)"""


async def prunable(db: aiosqlite.Connection, before_ms: int, now_ms: int) -> Prunable:
    """What `prune` would delete. Raises `ValueError` for a time that is too recent."""
    cut_ms = await _cut_ms(db, before_ms, now_ms)
    calls = await _number(db, _COUNT_CALLS, cut_ms)
    charges = await _number(db, _COUNT_CHARGES, cut_ms)
    return Prunable(before_ms=cut_ms, calls=calls, charges=charges)


async def prune(
    db: aiosqlite.Connection, before_ms: int, now_ms: int, batch: int = BATCH
) -> AsyncIterator[Pruned]:
    """Delete calls and charges from before a time; tells after each batch how far it is.

    `db` is a connection that nobody else uses meanwhile. Raises `ValueError` for a time that is
    too recent. `gateway.store.rollup.roll.catch_up` beforehand sums up what no server has yet.
    """
    await db.execute("BEGIN IMMEDIATE")
    try:
        cut_ms = await _cut_ms(db, before_ms, now_ms)
        await db.execute(
            "UPDATE rollup_state SET pruned_ms = ? WHERE pruned_ms < ?", (cut_ms, cut_ms)
        )
        await db.execute("COMMIT")
    finally:
        if db.in_transaction:
            await db.execute("ROLLBACK")
    calls = charges = 0
    while True:
        fewer_calls = await _delete(db, _DELETE_CALLS, cut_ms, batch)
        fewer_charges = await _delete(db, _DELETE_CHARGES, cut_ms, batch)
        if not fewer_calls and not fewer_charges:
            return
        calls, charges = calls + fewer_calls, charges + fewer_charges
        yield Pruned(calls=calls, charges=charges)
        await asyncio.sleep(_PAUSE_S)


async def _cut_ms(db: aiosqlite.Connection, before_ms: int, now_ms: int) -> int:
    if before_ms > now_ms - YOUNGEST_MS:
        raise ValueError("what is younger than a day is kept")
    return quarter(min(before_ms, await _number(db, _CUT)))


async def _number(db: aiosqlite.Connection, query: str, *parameters: int) -> int:
    async with db.execute(query, parameters) as rows:
        ((number,),) = await rows.fetchall()
    return int(number)


async def _delete(db: aiosqlite.Connection, statement: str, before_ms: int, most: int) -> int:
    async with db.execute(statement, (before_ms, most)) as done:
        return done.rowcount
