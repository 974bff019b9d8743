"""Do all processes of a database seal with the same key, and none with one that is gone?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.sealing import NoDataKey, Sealer, new_key
from gateway.store.datakeys import SqlDataKeys
from gateway.store.sqlite import reading
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import Clock, Rows

MASTER = Sealer(new_key())


@pytest.fixture
def open_keys(path: Path, open_writer: OpenWriter, clock: Clock):
    @asynccontextmanager
    async def open_one(master: Sealer = MASTER) -> AsyncIterator[SqlDataKeys]:
        async with reading(path, 0.05) as db:
            yield SqlDataKeys(master, await open_writer(), db, clock)

    return open_one


def reads(one: Sealer, other: Sealer | None) -> bool:
    return other is not None and other.open(one.seal(b"text", b""), b"") == b"text"


async def test_processes_that_ask_at_once_get_the_same_key(open_keys, rows: Rows) -> None:
    async with open_keys() as one, open_keys() as other:
        made = await asyncio.gather(*((one, other)[n % 2].make("team:red") for n in range(20)))
        assert all(reads(made[0], sealer) for sealer in made)
        assert len(rows.all("SELECT * FROM data_keys")) == 1
        assert not reads_safely(made[0], await one.make("team:blue"))


def reads_safely(one: Sealer, other: Sealer) -> bool:
    return one.key_id == other.key_id


async def test_a_key_is_found_and_not_made_by_looking(open_keys, rows: Rows) -> None:
    async with open_keys() as one, open_keys() as other:
        assert await other.find("team:red") is None
        assert rows.all("SELECT * FROM data_keys") == []
        made = await one.make("team:red")
        assert other.known("team:red") is None
        assert reads(made, await other.find("team:red"))
        assert reads(made, other.known("team:red"))


async def test_a_key_whose_row_is_gone_is_forgotten(
    open_keys, path: Path, rows: Rows, clock: Clock
) -> None:
    async with open_keys() as one, open_keys() as other, reading(path) as db:
        red, blue = await one.make("team:red"), await one.make("team:blue")
        rows.execute("DELETE FROM data_keys WHERE owner = 'team:red'")
        clock.now_ms += 1
        again = await other.make("team:red")  # made anew before the first process has looked
        await one.read(db)
        assert one.known("team:red") is None
        assert one.known("team:blue") is blue
        assert reads(again, await one.find("team:red"))
        assert again.key_id != red.key_id


async def test_a_key_that_cannot_be_had_is_said_to_be_there(open_keys, rows: Rows) -> None:
    async with open_keys() as one, open_keys(Sealer(new_key())) as stranger:
        await one.make("team:red")
        for asked in (stranger.find, stranger.make):
            with pytest.raises(NoDataKey):
                await asked("team:red")
        rows.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NoDataKey):
            await one.make("team:green")
        rows.execute("ROLLBACK")


async def test_a_wrapped_key_opens_for_its_owner_only(open_keys, rows: Rows) -> None:
    async with open_keys() as one, open_keys() as other:
        await one.make("team:red")
        await one.make("team:blue")
        rows.execute(
            "UPDATE data_keys SET wrapped = "
            "(SELECT wrapped FROM data_keys WHERE owner = 'team:red') WHERE owner = 'team:blue'"
        )
        with pytest.raises(NoDataKey):
            await other.find("team:blue")


async def test_a_key_that_goes_while_it_is_looked_for_is_not_kept(
    open_keys, path: Path, open_writer: OpenWriter, clock: Clock
) -> None:
    async with open_keys() as one, reading(path) as db:
        await one.make("team:red")

        class Slow:
            """A connection over which the team is deleted, just as an answer comes."""

            @asynccontextmanager
            async def execute(self, *asked: Any) -> AsyncIterator[Any]:
                async with db.execute(*asked) as rows:
                    yield rows
                await db.execute("DELETE FROM data_keys")
                await db.commit()
                await other.read(db)

        other = SqlDataKeys(MASTER, await open_writer(), cast(Any, Slow()), clock)
        await other.find("team:red")
        assert other.known("team:red") is None
