"""Summing up: when are the sums of a quarter hour made, and by which process?

One process at a time, by its lease, a little at a time: marks are set in one short transaction of
the writer's, the rows are read on a connection of its own, and the sums are written in another
short transaction, for quarter hours of which nothing changed meanwhile. A process that dies, or
loses its claim, leaves marks, and with them work for the next one; nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.store.leases import LeaseLost, unix_ms
from gateway.store.rollup.cells import read_cells, replace_cells
from gateway.store.rollup.marks import Mark, claim
from gateway.store.sqlite import connect, reading
from gateway.store.writer import FAULTS, Operation, Writer

SETTLED_MS = 15_000
"""So long after its end a quarter hour is summed up: most of its calls are over then."""
AT_ONCE = 4
_PAUSE_S = 15.0
_SHORT_PAUSE_S = 0.2
_KNOWN_GROUPS = 50_000
_COMMAND_TIMEOUT_S = 60.0

_log = logging.getLogger(__name__)


class Rollup:
    """Sums up what has been written. `owner` says under which id; it may raise `LeaseLost`.

    `at_once` quarter hours are written in one transaction, which other writes wait for.
    """

    def __init__(
        self,
        writer: Writer,
        path: Path,
        owner: Callable[[], str],
        clock: Callable[[], int] = unix_ms,
        at_once: int = AT_ONCE,
    ) -> None:
        self._writer = writer
        self._path = path
        self._owner = owner
        self._clock = clock
        self._at_once = at_once
        self._known: dict[str, int] = {}
        self._claiming = Operation(run=self._claim)
        self._replacing = Operation(run=_replace)

    async def step(self) -> int:
        """Sum up the next quarter hours; how many there were. Raises a fault of the writer's."""
        now_ms = self._clock()
        marks: list[Mark] = await self._writer.submit(self._claiming, (self._owner(), now_ms))
        if not marks:
            return 0
        async with reading(self._path) as db:
            cells = await read_cells(db, marks)
        request = (marks, cells, self._known)
        found: dict[str, int] = await self._writer.submit(self._replacing, request)
        if len(self._known) > _KNOWN_GROUPS:
            self._known = {}
        self._known = {**self._known, **found}
        return len(marks)

    async def catch_up(self) -> None:
        """Sum up all that can be."""
        while await self.step():
            pass

    async def run(self) -> None:
        """Sum up, for ever, and never for more than half of the time."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                count = await self.step()
            except LeaseLost:
                count = 0
            except (*FAULTS, TimeoutError) as error:
                _log.warning("ledger not summed up: %s", error)
                count = 0
            took = loop.time() - began
            await asyncio.sleep(max(took, _SHORT_PAUSE_S) if count else _PAUSE_S)

    # ---------------------------------------------------------- in the writer's thread

    def _claim(self, db: sqlite3.Connection, requests: Sequence[tuple[str, int]]) -> list[Mark]:
        owner, now_ms = requests[-1]
        return claim(db, owner, now_ms, now_ms - SETTLED_MS, self._at_once)


def _replace(db: sqlite3.Connection, requests: Sequence[Any]) -> dict[str, int]:
    marks, cells, known = requests[-1]
    return replace_cells(db, marks, cells, known)


async def catch_up(path: Path, at_once: int = AT_ONCE, clock: Callable[[], int] = unix_ms) -> int:
    """Sum up all that can be, for a command; in how many steps. A server that does it goes on."""
    owner, steps = secrets.token_hex(8), 0
    with closing(connect(path)) as db:
        writer = Writer(db, _COMMAND_TIMEOUT_S)
        try:
            rollup = Rollup(writer, path, lambda: owner, clock, at_once)
            while await rollup.step():
                steps += 1
        finally:
            await writer.stop()
    return steps
