"""The store of one process: what has to be opened, kept running and closed?"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiosqlite

from gateway import config
from gateway.sealing import Sealer
from gateway.store.accounts import SqlAccounts
from gateway.store.administration import Administration
from gateway.store.adminkey import AdminKey
from gateway.store.answers import SqlAnswers
from gateway.store.budgettable import BudgetReader
from gateway.store.cacheadmin import EpochReader
from gateway.store.cachestats import CacheStats
from gateway.store.datakeys import SqlDataKeys
from gateway.store.desk import Desk
from gateway.store.faults import StoreFault
from gateway.store.keyring import Keyring
from gateway.store.leases import Leases, unix_ms
from gateway.store.managed import ManagedReader
from gateway.store.masterkey import agreed_sealer
from gateway.store.migrate import migrate, require_head
from gateway.store.pepper import agreed_pepper
from gateway.store.rollup.roll import Rollup
from gateway.store.sqlite import connect, create_file, database_path, reading
from gateway.store.writer import FAULTS, Writer

_DEFAULT_ENCRYPTION = config.Encryption()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A database that is there, migrated, and agreed with its pepper."""

    path: Path
    pepper: bytes = field(repr=False)
    sealer: Sealer | None = field(default=None, repr=False, compare=False)


def prepare(
    database: config.Database,
    keys: config.Keys,
    base_dir: Path,
    environ: Mapping[str, str] = os.environ,
    encryption: config.Encryption | None = _DEFAULT_ENCRYPTION,
) -> Prepared:
    """Make and migrate the database, agree on pepper and encryption key. Raises `StoreFault`.

    Done by whoever starts first (the parent process, a command) and harmless when repeated.
    None for `encryption` is for commands that neither seal nor open anything.
    """
    path = database_path(database.url, base_dir)
    create_file(path)
    try:
        db = connect(path, "full")
        try:
            migrate(db)
            pepper = agreed_pepper(db, keys.pepper, base_dir, environ=environ, now_ms=unix_ms())
            sealer = None
            if encryption is not None:
                sealer = agreed_sealer(
                    db, path.parent, encryption, base_dir, environ, now_ms=unix_ms()
                )
        finally:
            db.close()
    except sqlite3.Error as error:
        raise StoreFault(f"database file {path}: {error}") from error
    return Prepared(path, pepper, sealer)


@asynccontextmanager
async def administration(prepared: Prepared) -> AsyncIterator[Administration]:
    """A connection for one command."""
    async with reading(prepared.path) as db:
        yield Administration.of(db, prepared.pepper, prepared.sealer)


class Store:
    """Accounts, keys and lease of one running process."""

    def __init__(
        self,
        prepared: Prepared,
        database: config.Database,
        keys: config.Keys,
        clock: Callable[[], int],
        writing: sqlite3.Connection,
        reading: aiosqlite.Connection,
    ) -> None:
        self._writer = Writer(writing, database.commit_timeout_s)
        self.leases = Leases(self._writer, database.lease_s, clock)
        self.accounts = SqlAccounts(self._writer, self.leases, clock)
        if prepared.sealer is None:
            raise RuntimeError("the database was prepared without its encryption key")
        self.data_keys = SqlDataKeys(prepared.sealer, self._writer, reading, clock)
        self.cache_stats = CacheStats(self._writer)
        budgets, epochs = BudgetReader(), EpochReader()
        self.budgets, self.epochs = budgets.budgets, epochs.epochs
        self.managed = ManagedReader(prepared.sealer)
        also = (budgets.read, epochs.read, self.data_keys.read, self.managed.read)
        self.keyring = Keyring(reading, prepared.pepper, keys.max_stale_s, also=also)
        self.admin_key = AdminKey(reading, prepared.pepper)
        self.answers = SqlAnswers(self._writer, self.leases, reading, self.data_keys, clock)
        self.rollup = Rollup(self._writer, prepared.path, self.leases.owner, clock)
        self.desk = Desk(prepared.path, prepared.pepper, prepared.sealer, clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    @classmethod
    async def open(
        cls,
        prepared: Prepared,
        database: config.Database,
        keys: config.Keys,
        clock: Callable[[], int] = unix_ms,
    ) -> Store:
        """Open a prepared database: lease taken, keys loaded, what others left open swept."""
        writing = connect(prepared.path, database.synchronous)
        async with AsyncExitStack() as stack:
            stack.callback(writing.close)
            require_head(writing)
            reader = await stack.enter_async_context(reading(prepared.path))
            store = cls(prepared, database, keys, clock, writing, reader)
            stack.push_async_callback(store._writer.stop)
            stack.push_async_callback(store.desk.aclose)
            await store.leases.renew()
            await store.leases.sweep()
            await store.keyring.refresh()
            store._tasks = [
                asyncio.create_task(store.leases.run()),
                asyncio.create_task(store.keyring.run()),
                asyncio.create_task(store.answers.run()),
                asyncio.create_task(store.rollup.run()),
                asyncio.create_task(store.cache_stats.run()),
            ]
            store._stack = stack.pop_all()
        return store

    @property
    def queued(self) -> int:
        """Writes that wait."""
        return len(self._writer)

    @property
    def lag_s(self) -> float:
        """How long the oldest write that somebody waits for has taken so far."""
        return self._writer.lag_s

    @property
    def dropped(self) -> int:
        """Rows that could not be taken, in all."""
        return self._writer.dropped

    async def healthy(self) -> bool:
        """Can the ledger be written, and are the keys fresh?"""
        try:
            await self._writer.flush()
        except (*FAULTS, TimeoutError):
            return False
        return self.keyring.fresh

    async def close(self) -> None:
        """Write all that is queued, give the lease up, stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cache_stats.flush()
        try:
            await self.accounts.drain()
            await self.leases.leave()
        except (*FAULTS, TimeoutError):
            pass  # what is still open is swept at its bound when the lease has run out
        await self._stack.aclose()
