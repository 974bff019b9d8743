"""Is a disk that hangs waited for once, and used again when it is back?"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from gateway.cache.disk import DiskStore
from gateway.cache.entry import Entry


def entry() -> Entry:
    now = time.time()
    return Entry(
        kind="completion",
        payload=b"x",
        usage=None,
        cost_nano_usd=None,
        stored_at=now,
        expires_at=now + 60,
    )


async def test_a_disk_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    path, kept = tmp_path / "cache.db", entry()
    store = await DiskStore.open(path, 2**20, time.time)
    store.put(b"a", kept)
    assert await store.get(b"a") == kept
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(8):  # each waits a while for the other's end, and readings behind them
            store.put(b"%d" % number, kept)
        began = time.monotonic()
        assert await asyncio.gather(*(store.get(b"a") for _ in range(20))) == [None] * 20
        assert time.monotonic() - began < 1.0
        began = time.monotonic()
        for _ in range(20):
            assert await store.get(b"a") is None
        assert time.monotonic() - began < 0.2
        other.execute("COMMIT")
    async with asyncio.timeout(5):
        while await store.get(b"a") != kept:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    await store.close()
