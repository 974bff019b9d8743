"""Leases: whose open charges will never be settled, because their process is gone?

Each process has a row with a random id and a lease that it renews every second. Any process sweeps
the open charges of owners whose lease has run out, or that have no row (a process that left in
order, with a charge it could not settle): the charge is `lost` and costs its bound. Sweeping
removes the owner's row in the same transaction, so it happens once, and an owner that was only
stopped finds its lease gone when it wakes up: it takes a new id for new charges, and its old ones
are no longer `open` for it to settle.

Leases are times of day, which all machines share. Where that jumps forward (it was set, or the
machine slept), every lease looks run out until its owner renews it: nobody is swept meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence

from gateway.store.budgets import spend_bounds, spend_forgotten
from gateway.store.charges import CALL_COLUMNS
from gateway.store.rollup.marks import mark
from gateway.store.writer import FAULTS, Operation, OperationRefused, Writer

RENEW_S = 1.0
PATIENCE = 3
"""Renewals without a sweep after a jump of the clock: the others have renewed by then."""
_RECENT_MS = 3_600_000
"""Calls that may miss their row began at most this long before their process died."""

_log = logging.getLogger(__name__)


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class LeaseLost(OperationRefused):
    """This process's lease has run out: its charges may already be swept."""


class Leases:
    """This process's lease, and the sweep of others'."""

    def __init__(
        self,
        writer: Writer,
        lease_s: float,
        clock: Callable[[], int] = unix_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._lease_ms = int(lease_s * 1000)
        self._clock = clock
        self._monotonic = monotonic
        self._offset_ms = self._offset_now_ms()
        self._patience = 0
        self._started_ms = clock()
        self._id = secrets.token_hex(8)
        self._until_ms = 0
        self._lock = asyncio.Lock()
        self._renewal = Operation(run=self._renew)
        self._sweeping = Operation(run=self._sweep)
        self._leaving = Operation(run=self._leave)
        self.swept = 0

    def owner(self) -> str:
        """The id to open charges under. Raises `LeaseLost`. Callable from any thread."""
        if self._clock() >= self._until_ms:
            raise LeaseLost
        return self._id

    def doubt(self) -> None:
        """Forget the lease: after a failed commit its row may not be what this object believes."""
        self._until_ms = 0

    async def renew(self) -> None:
        """Renew the lease, under a new id if it was swept. Raises a fault of the writer's."""
        async with self._lock:
            await self._renew_now()

    async def regain(self) -> None:
        """Renew the lease unless somebody just did."""
        async with self._lock:
            if self._clock() >= self._until_ms:
                await self._renew_now()

    async def sweep(self) -> int:
        """Settle what dead processes left open; how many charges there were."""
        lost: int = await self._writer.submit(self._sweeping, self._clock())
        self.swept += lost
        return lost

    async def run(self) -> None:
        """Renew and sweep, for ever."""
        while True:
            try:
                await self.turn()
            except (*FAULTS, TimeoutError) as error:
                _log.warning("lease not renewed: %s", error)
            await asyncio.sleep(RENEW_S)

    async def turn(self) -> None:
        """Renew, and sweep unless the clock has just jumped. Raises a fault of the writer's."""
        if self._jumped():
            _log.warning("the clock has jumped forward: no charge is swept for a moment")
            self._patience = PATIENCE
        if self._patience:
            self._patience -= 1
            await self.renew()
        else:
            await asyncio.gather(self.renew(), self.sweep())  # both ride in one batch

    async def leave(self) -> None:
        """Give the lease up, at the end. What is still open then is swept by others."""
        self._until_ms = 0
        await self._writer.submit(self._leaving, self._id)

    async def _renew_now(self) -> None:
        until_ms = self._clock() + self._lease_ms
        request = (self._id, secrets.token_hex(8), until_ms)
        self._id = await self._writer.submit(self._renewal, request)
        self._until_ms = until_ms

    def _jumped(self) -> bool:
        """Has the time of day run ahead of the time that has passed, by much of a lease?"""
        before, self._offset_ms = self._offset_ms, self._offset_now_ms()
        return self._offset_ms - before > self._lease_ms / 2

    def _offset_now_ms(self) -> int:
        return self._clock() - int(self._monotonic() * 1000)

    # ---------------------------------------------------------- in the writer's thread

    def _renew(self, db: sqlite3.Connection, requests: Sequence[tuple[str, str, int]]) -> str:
        current_id, fresh_id, until_ms = requests[-1]
        renewed = db.execute(
            "UPDATE processes SET lease_until_ms = ? WHERE id = ?", (until_ms, current_id)
        )
        if renewed.rowcount == 1:
            return current_id
        db.execute(
            "INSERT INTO processes (id, host, pid, started_at_ms, lease_until_ms) "
            "VALUES (?, ?, ?, ?, ?)",
            (fresh_id, socket.gethostname(), os.getpid(), self._started_ms, until_ms),
        )
        return fresh_id

    def _sweep(self, db: sqlite3.Connection, times: Sequence[int]) -> int:
        now_ms = times[-1]
        spend_forgotten(db)
        return sum(_sweep_owner(db, owner, now_ms) for owner in _dead_owners(db, now_ms))

    def _leave(self, db: sqlite3.Connection, owners: Sequence[str]) -> None:
        db.execute("DELETE FROM processes WHERE id = ?", (owners[-1],))


def _dead_owners(db: sqlite3.Connection, now_ms: int) -> list[str]:
    rows = db.execute(
        "SELECT id FROM processes WHERE lease_until_ms <= ? UNION "
        "SELECT owner FROM charges WHERE state = 'open' "
        "AND NOT EXISTS (SELECT 1 FROM processes WHERE processes.id = charges.owner)",
        (now_ms,),
    )
    return [owner for (owner,) in rows]


def _sweep_owner(db: sqlite3.Connection, owner: str, now_ms: int) -> int:
    alive_until = db.execute("SELECT lease_until_ms FROM processes WHERE id = ?", (owner,))
    since_ms = (alive_until.fetchone() or (now_ms,))[0] - _RECENT_MS
    lost_calls = db.execute(_WRITE_LOST_CALLS, (owner, owner, since_ms)).fetchall()
    mark(db, [received_at_ms for (received_at_ms,) in lost_calls])
    spend_bounds(db, owner)
    lost = db.execute(
        "UPDATE charges SET state = 'lost', error = 'lost', settled_at_ms = ?, "
        "cost_nano_usd = bound_nano_usd WHERE owner = ? AND state = 'open'",
        (now_ms, owner),
    )
    db.execute("DELETE FROM processes WHERE id = ?", (owner,))
    return lost.rowcount


# Calls of a dead owner that have no row: those with an open charge, and those whose row was still
# queued when the process died.
_WRITE_LOST_CALLS = f"""
INSERT INTO calls ({", ".join(CALL_COLUMNS)})
SELECT call_id, MIN(opened_at_ms), MIN(key_id), MIN(team), MIN(tags), MIN(asked_model), NULL, NULL,
       0, 0, 'lost', COUNT(*), NULL, 0, NULL, '[]', NULL, NULL, NULL
FROM charges
WHERE call_id IN (
    SELECT call_id FROM charges WHERE owner = ? AND state = 'open'
    UNION SELECT call_id FROM charges WHERE owner = ? AND opened_at_ms >= ?
) AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.call_id = charges.call_id)
GROUP BY call_id
ON CONFLICT (call_id) DO NOTHING
RETURNING received_at_ms
"""  # noqa: S608 (the names are constants)
