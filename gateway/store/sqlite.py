"""SQLite: which file, and how is it opened?"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import aiosqlite

from gateway.store.faults import BadDatabaseUrl, StoreFault

BUSY_TIMEOUT_S = 5.0
"""How long a statement waits for another process's transaction. Callers have shorter limits."""

_CACHED_STATEMENTS = 256
# The commit that copies the log into the database waits some milliseconds for the disk. At 16 MB
# it is one in several hundred; at SQLite's own 4 MB it was the slowest 1 % of calls.
_CHECKPOINT_PAGES = 4000


def database_path(url: str, base_dir: Path) -> Path:
    """The file that `sqlite:PATH` names, relative to `base_dir`. Raises `BadDatabaseUrl`."""
    scheme, _, name = url.partition(":")
    if scheme != "sqlite":
        raise BadDatabaseUrl(f"database.url {url!r}: only sqlite:PATH is supported")
    if name.startswith("//"):
        raise BadDatabaseUrl(f"database.url {url!r}: write sqlite:PATH, without slashes before it")
    if not name or name.startswith(":"):
        raise BadDatabaseUrl(
            f"database.url {url!r}: keys and the ledger need a file; write sqlite:PATH"
        )
    return base_dir / name


def create_file(path: Path) -> None:
    """Make the file and its directory for their owner only; SQLite's -wal and -shm follow it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreFault(f"database file {path}: {error.strerror}") from error


def connect(
    path: Path,
    synchronous: Literal["normal", "full"] = "normal",
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> sqlite3.Connection:
    """A connection for whichever thread uses it alone; transactions are begun explicitly."""
    db = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    with ExitStack() as stack:
        stack.callback(db.close)  # Python 3.13 warns of a connection that was left open
        _use_wal(db, busy_timeout_s)
        for pragma in _pragmas(synchronous):
            db.execute(pragma)
        stack.pop_all()
    return db


@asynccontextmanager
async def reading(
    path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> AsyncIterator[aiosqlite.Connection]:
    """A connection for reads and administration, off the event loop."""
    async with aiosqlite.connect(path, timeout=busy_timeout_s, isolation_level=None) as db:
        for pragma in _pragmas("normal"):
            await db.execute(pragma)
        yield db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One write transaction. IMMEDIATE: a later upgrade of a read lock could not wait its turn."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _use_wal(db: sqlite3.Connection, busy_timeout_s: float) -> None:
    """The file keeps this mode. SQLite waits for no lock here, and processes start together."""
    give_up_s = time.monotonic() + busy_timeout_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)
        else:
            return


def _pragmas(synchronous: str) -> tuple[str, ...]:
    return (
        f"PRAGMA synchronous = {synchronous}",
        "PRAGMA foreign_keys = ON",
        f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    )
