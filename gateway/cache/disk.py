"""The cache on disk: how do entries outlive the process?

One SQLite file beside the database, used by one thread of each process. It is a cache: its loss
is none, so nothing waits for the disk, a fault is a miss, and what is slow is not waited for.
The oldest entries go first.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.cache.entry import Entry
from gateway.cache.epochs import Scope

log = logging.getLogger("sluice")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key BLOB PRIMARY KEY,
    expires_at REAL NOT NULL,
    size INTEGER NOT NULL,
    entry BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_end ON entries (expires_at);
"""
_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA busy_timeout=200;"
_READ = "SELECT entry FROM entries WHERE key = ? AND expires_at > ?"
_WRITE = "INSERT OR REPLACE INTO entries (key, expires_at, size, entry) VALUES (?, ?, ?, ?)"
_OLDEST = "DELETE FROM entries WHERE key IN (SELECT key FROM entries ORDER BY rowid LIMIT 16)"
_DROP = """
DELETE FROM entries WHERE SUBSTR(key, 1, 4) = COALESCE(?, SUBSTR(key, 1, 4))
    AND SUBSTR(key, 5, 4) = COALESCE(?, SUBSTR(key, 5, 4))
    AND SUBSTR(key, 9, 4) = COALESCE(?, SUBSTR(key, 9, 4))
"""
_SIZE = "SELECT COALESCE(SUM(size), 0) FROM entries"
_PATIENCE_S = 0.25
_MOST_WAITING = 256
_WRITES_PER_SWEEP = 64


class DiskStore:
    """Entries in `path`, at most about `max_bytes` of them. Made by `open`."""

    def __init__(self, path: Path, max_bytes: int, now: Callable[[], float]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._now = now
        self._thread = ThreadPoolExecutor(1, "sluice-cache")
        self._db: sqlite3.Connection | None = None
        self._late: asyncio.Future[Entry | None] | None = None
        self._waiting = 0
        self._writes = 0

    @classmethod
    async def open(cls, path: Path, max_bytes: int, now: Callable[[], float]) -> DiskStore:
        """The store; one that keeps nothing if the file cannot be used."""
        store = cls(path, max_bytes, now)
        await asyncio.get_running_loop().run_in_executor(store._thread, store._open)
        return store

    async def get(self, key: bytes) -> Entry | None:
        """The entry, None also where the disk takes too long."""
        if self._late is not None and not self._late.done():
            return None
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._thread, self._read, key)
        done, _ = await asyncio.wait({reading}, timeout=_PATIENCE_S)
        if done:
            return reading.result()
        self._late = reading  # until it is done nobody waits again
        return None

    def put(self, key: bytes, entry: Entry) -> None:
        """Write an entry some time soon; not at all while too much waits to be written."""
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            self._thread.submit(self._write, key, entry)

    async def drop(self, scope: Scope) -> int:
        """Delete the entries in a scope; how many."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._drop, scope)

    async def close(self) -> None:
        """What waits to be written is written first."""
        self._thread.submit(self._close)
        await asyncio.to_thread(self._thread.shutdown)

    # ---------------------------------------------------------------------- in the thread

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db.executescript(_PRAGMAS + _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            self._close()

    def _read(self, key: bytes) -> Entry | None:
        if self._db is None:
            return None
        try:
            row = self._db.execute(_READ, (key, self._now())).fetchone()
            return Entry.decode(row[0]) if row else None
        except (sqlite3.Error, ValueError, TypeError) as error:
            self._failed(error)
            return None

    def _write(self, key: bytes, entry: Entry) -> None:
        self._waiting -= 1
        if self._db is None:
            return
        stored = entry.encode()
        try:
            self._db.execute(_WRITE, (key, entry.expires_at, len(stored), stored))
            self._writes += 1
            if self._writes % _WRITES_PER_SWEEP == 1:
                self._sweep(self._db)
        except sqlite3.Error as error:
            self._failed(error)

    def _drop(self, scope: Scope) -> int:
        if self._db is None:
            return 0
        try:
            return self._db.execute(_DROP, scope.marks()).rowcount
        except sqlite3.Error as error:
            self._failed(error)
            return 0

    def _sweep(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM entries WHERE expires_at <= ?", (self._now(),))
        while db.execute(_SIZE).fetchone()[0] > self._max_bytes:
            db.execute(_OLDEST)

    def _failed(self, error: Exception) -> None:
        log.warning("the cache on disk does not work: %s", error)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
