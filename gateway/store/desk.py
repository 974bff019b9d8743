"""The desk: how is a running process administered without holding up its calls?

Changes go through one connection, one at a time: each is a short transaction. Reads have
connections of their own, so that a long report delays neither a change nor another report. None of
them is the one that keys are read by, and none is opened before it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiosqlite

from gateway.errors import Unavailable
from gateway.sealing import Sealer
from gateway.store.administration import Administration
from gateway.store.audit import Via
from gateway.store.leases import unix_ms
from gateway.store.sqlite import reading

_READERS = 3
_LONGEST_READ_S = 60.0


class Desk:
    """Administration of one process's database. Closed by `aclose`."""

    def __init__(
        self,
        path: Path,
        pepper: bytes,
        sealer: Sealer | None,
        clock: Callable[[], int] = unix_ms,
        longest_read_s: float = _LONGEST_READ_S,
    ) -> None:
        self.clock = clock
        self._path = path
        self._pepper = pepper
        self._sealer = sealer
        self._longest_read_s = longest_read_s
        self._stack = AsyncExitStack()
        self._writing = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._writer: aiosqlite.Connection | None = None
        self._reading = asyncio.Semaphore(_READERS)
        self._idle: list[aiosqlite.Connection] = []

    @asynccontextmanager
    async def changing(self, via: Via) -> AsyncIterator[Administration]:
        """All that can be changed, for one who changes it now."""
        async with self._writing:
            if self._writer is None:
                self._writer = await self._open()
            yield Administration.of(self._writer, self._pepper, self._sealer, self.clock, via)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Administration]:
        """The same, to read only. Raises `Unavailable` for what takes too long."""
        async with self._reading:
            db = self._idle.pop() if self._idle else await self._open_reader()
            try:
                async with asyncio.timeout(self._longest_read_s):
                    yield Administration.of(db, self._pepper, self._sealer, self.clock)
            except TimeoutError:
                raise Unavailable("The report took too long. Ask for a shorter period.") from None
            finally:
                # Who was cancelled left a statement running in the thread, or a snapshot open. What
                # the next one asks comes after the end of both.
                await db.interrupt()
                self._idle.append(db)
                await db.rollback()

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _open_reader(self) -> aiosqlite.Connection:
        db = await self._open()
        await db.execute("PRAGMA query_only = ON")
        return db

    async def _open(self) -> aiosqlite.Connection:
        async with self._opening:
            return await self._stack.enter_async_context(reading(self._path))
