"""Data keys: with which key is what is kept of an owner sealed?

Random, one per owner, in the table `data_keys` under the master key. In memory they stay unwrapped
for as long as their rows are there: a change of `keys_version` has the rows looked at. An owner's
first key is made when something is to be sealed; of two processes that make one, one is first.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence

import aiosqlite

from gateway.sealing import NoDataKey, Sealer, Unsealable, new_key
from gateway.store.leases import unix_ms
from gateway.store.writer import FAULTS, Operation, Writer

_log = logging.getLogger(__name__)

_MAKE = """
INSERT INTO data_keys (owner, wrapped, created_at_ms) VALUES (?, ?, ?)
ON CONFLICT (owner) DO NOTHING"""
_FIND = "SELECT owner, wrapped, created_at_ms FROM data_keys WHERE owner = ?"
_OWNERS = "SELECT owner, created_at_ms FROM data_keys"

Row = tuple[str, str, int]


class SqlDataKeys:
    """`gateway.sealing.DataKeys` over a `Writer`."""

    def __init__(
        self,
        master: Sealer,
        writer: Writer,
        reading: aiosqlite.Connection,
        clock: Callable[[], int] = unix_ms,
    ) -> None:
        self._master = master
        self._writer = writer
        self._reading = reading
        self._clock = clock
        self._sealers: dict[str, tuple[int, Sealer]] = {}
        self._reads = 0
        self._making = Operation(run=_make_all)

    def known(self, owner: str) -> Sealer | None:
        found = self._sealers.get(owner)
        return found[1] if found else None

    async def find(self, owner: str) -> Sealer | None:
        sealer = self.known(owner)
        if sealer is not None:
            return sealer
        reads = self._reads
        try:
            async with self._reading.execute(_FIND, (owner,)) as rows:
                row = await rows.fetchone()
        except sqlite3.Error as error:
            raise NoDataKey(f"not read: {error}") from error
        return self._unwrapped((row[0], row[1], row[2]), reads) if row else None

    async def make(self, owner: str) -> Sealer:
        sealer = self.known(owner)
        if sealer is not None:
            return sealer
        reads = self._reads
        wrapped = self._master.wrap(new_key(), owner.encode()).hex()
        try:
            rows: Mapping[str, Row] = await self._writer.submit(
                self._making, (owner, wrapped, self._clock())
            )
        except (*FAULTS, TimeoutError) as error:
            _log.warning("data key not made: %s", error)
            raise NoDataKey(f"not made: {error}") from error
        return self._unwrapped(rows[owner], reads)

    async def read(self, db: aiosqlite.Connection) -> None:
        """Forget the keys whose rows are gone. Called when `keys_version` has changed."""
        async with db.execute(_OWNERS) as rows:
            there = {owner: created_at_ms async for owner, created_at_ms in rows}
        for owner, (created_at_ms, _) in list(self._sealers.items()):
            if there.get(owner) != created_at_ms:
                del self._sealers[owner]
        self._reads += 1

    def _unwrapped(self, row: Row, reads: int) -> Sealer:
        """Kept, unless the rows were looked at since: this one may have gone by then."""
        owner, wrapped, created_at_ms = row
        try:
            sealer = self._master.unwrap(bytes.fromhex(wrapped), owner.encode())
        except (Unsealable, ValueError) as error:
            _log.warning("data key of %s not opened: %s", owner, error)
            raise NoDataKey("not opened") from error
        if reads == self._reads:
            self._sealers[owner] = (created_at_ms, sealer)
        return sealer


def _make_all(db: sqlite3.Connection, drafts: Sequence[Row]) -> Mapping[str, Row]:
    """In the writer's thread: the rows of these owners, whoever made them."""
    found: dict[str, Row] = {}
    for draft in drafts:
        db.execute(_MAKE, draft)
        found[draft[0]] = db.execute(_FIND, (draft[0],)).fetchone()
    return found
