"""A migrated database, and the parts of a store over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.store.accounts import SqlAccounts
from gateway.store.leases import Leases
from gateway.store.migrate import migrate
from gateway.store.sqlite import connect, create_file
from gateway.store.writer import Writer
from tests.gateway.store.entries import Clock, Rows

OpenWriter = Callable[[], Awaitable[Writer]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sluice.db"
    create_file(path)
    db = connect(path)
    migrate(db)
    db.close()
    return path


@pytest.fixture
def rows(path: Path) -> Iterator[Rows]:
    rows = Rows(path)
    yield rows
    rows.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_writer(path: Path) -> AsyncIterator[OpenWriter]:
    """Opens writers as other processes would; each waits only briefly for a lock."""
    async with AsyncExitStack() as stack:

        async def open_one(timeout_s: float = 2.0) -> Writer:
            db = connect(path, busy_timeout_s=0.05)
            stack.callback(db.close)
            writer = Writer(db, timeout_s)
            stack.push_async_callback(writer.stop)
            return writer

        yield open_one


@pytest.fixture
async def writer(open_writer: OpenWriter) -> Writer:
    return await open_writer()


@pytest.fixture
async def leases(writer: Writer, clock: Clock) -> Leases:
    leases = Leases(writer, 5.0, clock)
    await leases.renew()
    return leases


@pytest.fixture
def accounts(writer: Writer, leases: Leases, clock: Clock) -> SqlAccounts:
    return SqlAccounts(writer, leases, clock)
