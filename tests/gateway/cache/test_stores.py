"""Do entries stay as long as they may, and no longer?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from gateway.cache.disk import DiskStore
from gateway.cache.entry import Entry
from gateway.cache.epochs import Scope, labels
from gateway.cache.memory import MemoryStore
from gateway.usage import Usage
from tests.fakes.clock import Clock

MEBIBYTE = 1024 * 1024


def entry(clock: Clock, size: int = 0, ttl_s: float = 60.0) -> Entry:
    made = Entry(
        kind="completion",
        payload=b"",
        usage=Usage(prompt_tokens=1, completion_tokens=2, service_tier="flex"),
        cost_nano_usd=3,
        stored_at=clock(),
        expires_at=clock() + ttl_s,
    )
    return replace(made, payload=b"x" * (size - made.size_bytes)) if size else made


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -------------------------------------------------------------------------- in memory


def test_the_least_recently_used_go_first_by_bytes(clock: Clock) -> None:
    memory = MemoryStore(10_000, clock)
    for name in (b"a", b"b", b"c"):
        memory.put(name, entry(clock, 3_000))
    assert memory.get(b"a")
    memory.put(b"d", entry(clock, 4_000))
    assert [bool(memory.peek(name)) for name in (b"a", b"b", b"c", b"d")] == [
        True,
        False,
        True,
        True,
    ]
    assert memory.size_bytes == 10_000


def test_a_peek_does_not_count_as_use(clock: Clock) -> None:
    memory = MemoryStore(6_000, clock)
    memory.put(b"a", entry(clock, 3_000))
    memory.put(b"b", entry(clock, 3_000))
    assert memory.peek(b"a")
    memory.put(b"c", entry(clock, 3_000))
    assert memory.peek(b"a") is None


def test_what_alone_is_too_large_pushes_nothing_out(clock: Clock) -> None:
    memory = MemoryStore(5_000, clock)
    memory.put(b"a", entry(clock, 3_000))
    memory.put(b"b", entry(clock, 5_001))
    assert memory.get(b"a")
    assert memory.get(b"b") is None


def test_a_new_entry_takes_the_place_of_the_old_one(clock: Clock) -> None:
    memory = MemoryStore(5_000, clock)
    for _ in range(3):
        memory.put(b"a", entry(clock, 3_000))
    assert (len(memory), memory.size_bytes) == (1, 3_000)
    memory.drop_all(lambda key: key == b"a")
    assert (len(memory), memory.size_bytes) == (0, 0)


def test_an_entry_is_gone_when_it_expires(clock: Clock) -> None:
    memory = MemoryStore(MEBIBYTE, clock)
    memory.put(b"a", entry(clock, ttl_s=60.0))
    clock.now += 59.9
    assert memory.get(b"a")
    clock.now += 0.1
    assert memory.peek(b"a") is None
    assert memory.get(b"a") is None
    assert memory.size_bytes == 0


# ---------------------------------------------------------------------------- on disk


async def test_entries_outlive_the_process_until_they_expire(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "new" / "cache.db"
    first = await DiskStore.open(path, MEBIBYTE, clock)
    kept = entry(clock, 2_000)
    first.put(b"a", kept)
    await first.close()
    assert path.stat().st_mode & 0o077 == 0
    second = await DiskStore.open(path, MEBIBYTE, clock)
    assert await second.get(b"a") == kept
    assert await second.get(b"b") is None
    clock.now += 60
    assert await second.get(b"a") is None
    await second.close()


async def test_the_oldest_go_first(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "cache.db"
    disk = await DiskStore.open(path, 100_000, clock)
    for number in range(257):
        disk.put(b"%d" % number, entry(clock, 2_000))
        assert await disk.get(b"%d" % number)
    assert await disk.get(b"256")
    assert await disk.get(b"0") is None
    await disk.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT SUM(size) FROM entries").fetchone()[0] <= 100_000


async def test_a_file_that_is_no_database_is_an_empty_cache(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(b"nonsense" * 1000)
    disk = await DiskStore.open(path, MEBIBYTE, clock)
    disk.put(b"a", entry(clock))
    assert await disk.get(b"a") is None
    await disk.close()


async def test_a_broken_entry_is_a_miss(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "cache.db"
    disk = await DiskStore.open(path, MEBIBYTE, clock)
    disk.put(b"a", entry(clock))
    assert await disk.get(b"a")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE entries SET entry = ?", (b'{"usage": null, "new": 1}\n',))
    assert await disk.get(b"a") is None
    await disk.close()


async def test_a_scope_is_deleted(tmp_path: Path, clock: Clock) -> None:
    disk = await DiskStore.open(tmp_path / "cache.db", MEBIBYTE, clock)
    places = list(product(("team:red", "team:blue"), ("", "tests"), ("smart", "fast")))
    keys = {place: labels(*place) + b"digest" for place in places}
    for key in keys.values():
        disk.put(key, entry(clock))
    assert await disk.drop(Scope(owner="team:red", model="fast")) == 2
    left = [place for place, key in keys.items() if await disk.get(key)]
    assert left == [p for p in places if (p[0], p[2]) != ("team:red", "fast")]
    assert await disk.drop(Scope()) == 6
    assert await disk.drop(Scope()) == 0
    await disk.close()
