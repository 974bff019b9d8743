"""Do changes and reports of a running process keep out of each other's way?"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.store.desk import Desk
from gateway.store.keytable import KeyDraft

PEPPER = b"pepper of the tests"
# Counts until it is interrupted.
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.fixture
async def desk(path: Path) -> AsyncIterator[Desk]:
    desk = Desk(path, PEPPER, None)
    yield desk
    await desk.aclose()


async def test_changes_of_many_come_one_after_the_other(desk: Desk) -> None:
    async def create(name: str) -> None:
        async with desk.changing("api") as admin:
            await admin.keys.create(KeyDraft(name=name))

    await create("first")  # the connection is there from now on
    await asyncio.gather(*(create(str(number)) for number in range(9)))
    async with desk.looking() as look:
        assert len(await look.keys.list()) == 10
        assert {row.via for row in await look.audit.list()} == {"api"}


async def test_a_long_report_delays_neither_a_change_nor_another_report(desk: Desk) -> None:
    async def report() -> None:
        async with desk.looking() as look:
            await look.db.execute_fetchall(ENDLESS)

    endless = asyncio.create_task(report())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        async with desk.changing("dashboard") as admin:
            await admin.keys.create(KeyDraft(name="a"))
        async with desk.looking() as look:
            assert [key.name for key in await look.keys.list()] == ["a"]
    assert not endless.done()
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless


async def test_a_report_without_end_is_ended(path: Path) -> None:
    desk = Desk(path, PEPPER, None, longest_read_s=0.05)
    for _ in range(4):  # more often than there are readers
        with pytest.raises(Unavailable, match="too long"):
            async with desk.looking() as look:
                await look.db.execute_fetchall(ENDLESS)
    async with asyncio.timeout(5), desk.looking() as look:
        assert await look.keys.list() == []
    await desk.aclose()


async def test_a_look_changes_nothing(desk: Desk) -> None:
    async with desk.looking() as look:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await look.keys.create(KeyDraft(name="a"))


async def test_what_a_look_leaves_open_is_closed(desk: Desk) -> None:
    for _ in range(4):  # more often than there are readers
        async with desk.looking() as look:
            await look.db.execute("BEGIN")
    async with desk.looking() as look:
        assert not look.db.in_transaction
