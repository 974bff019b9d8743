"""Are the counts of all processes summed up, and is a clear announced?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from gateway.cache.epochs import Scope
from gateway.cache.facts import Cached, Saved, Stored
from gateway.keys import VirtualKey
from gateway.store.cacheadmin import CacheAdmin, EpochReader
from gateway.store.cachestats import CacheStats
from gateway.store.sqlite import reading
from gateway.store.writer import Writer
from tests import builders
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import NOW_MS, Clock, Rows

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
MORNING_MS = NOW_MS // DAY_MS * DAY_MS + 9 * HOUR_MS
HIT, MISS, STORED, SAVED = Cached("hit"), Cached("miss"), Stored(1), Saved(10, 250)
RED, ALONE = builders.KEY, VirtualKey(id="k2", name="alone")


@pytest.fixture
async def admin(path: Path, clock: Clock) -> AsyncIterator[CacheAdmin]:
    async with reading(path) as db:
        yield CacheAdmin(db, clock)


async def count(
    writer: Writer,
    *facts: Cached | Saved | Stored,
    key: VirtualKey = RED,
    model: str = "smart",
    at_ms: int = MORNING_MS,
) -> None:
    stats = CacheStats(writer)
    call = builders.call(body={"model": model}, key=key).with_(received_at=at_ms / 1000)
    for fact in facts:
        stats.tally.count(call, fact)
    stats.flush()
    await writer.flush()


async def test_processes_are_summed_up(
    admin: CacheAdmin, writer: Writer, open_writer: OpenWriter
) -> None:
    for one in (writer, await open_writer()):
        await count(one, MISS, STORED)
        await count(one, HIT, SAVED, HIT, SAVED)
    (row,) = await admin.stats()
    assert (row.hits, row.misses, row.additions) == (4, 2, 2)
    assert (row.saved_tokens, row.saved_nano_usd) == (40, 1000)
    assert row.hit_rate == pytest.approx(2 / 3)


async def test_without_calls_there_is_no_rate(admin: CacheAdmin) -> None:
    (row,) = await admin.stats()
    assert (row.hits, row.hit_rate) == (0, None)
    assert await admin.stats(["team"]) == []


async def test_statistics_are_grouped_and_filtered(admin: CacheAdmin, writer: Writer) -> None:
    await count(writer, HIT)
    await count(writer, HIT, HIT, model="fast", at_ms=MORNING_MS + HOUR_MS)
    await count(writer, HIT, HIT, HIT, HIT, key=ALONE, at_ms=MORNING_MS + DAY_MS)

    async def hits(*by: str, **where: object) -> dict[tuple[str, ...], int]:
        return {row.group: row.hits for row in await admin.stats(by, **where)}  # type: ignore[arg-type]

    assert await hits("team") == {("",): 4, ("red",): 3}
    assert await hits("key", "model") == {("k1", "fast"): 2, ("k1", "smart"): 1, ("k2", "smart"): 4}
    assert await hits("day") == {("2023-11-14",): 3, ("2023-11-15",): 4}
    assert await hits("hour", team="red") == {("2023-11-14T09:00Z",): 1, ("2023-11-14T10:00Z",): 2}
    assert await hits(since_ms=MORNING_MS + 1) == {(): 6}
    assert await hits(until_ms=MORNING_MS + 1) == {(): 1}
    assert await hits(model="smart", key="k1") == {(): 1}
    with pytest.raises(KeyError):
        await admin.stats(["tag"])


async def test_what_cannot_be_written_is_written_later(writer: Writer, rows: Rows) -> None:
    stats = CacheStats(writer)
    stats.tally.count(builders.call(), HIT)
    rows.execute("BEGIN EXCLUSIVE")
    stats.flush()
    with pytest.raises(Exception, match="locked"):
        await writer.flush()
    rows.execute("ROLLBACK")
    stats.flush()
    await writer.flush()
    assert [row["hits"] for row in rows.all("SELECT hits FROM cache_stats")] == [1]


async def test_a_clear_is_announced_and_counted_up(
    admin: CacheAdmin, path: Path, rows: Rows
) -> None:
    async with reading(path) as db:
        epochs = await as_read(db)
        assert epochs.of("team:red", "", "smart") == 0
        (before,) = rows.all("SELECT version FROM keys_version")
        await admin.clear(Scope(owner="team:red"))
        await admin.clear(Scope(owner="team:red"))
        await admin.clear(Scope(model="fast"))
        (after,) = rows.all("SELECT version FROM keys_version")
        assert after["version"] == before["version"] + 3
        epochs = await as_read(db)
        assert epochs.of("team:red", "", "smart") == 2
        assert epochs.of("team:red", "tests", "fast") == 3
        assert epochs.of("team:blue", "", "smart") == 0


async def as_read(db: aiosqlite.Connection):
    reader = EpochReader()
    await reader.read(db)
    return reader.epochs
