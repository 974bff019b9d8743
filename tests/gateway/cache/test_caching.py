"""Is what `[cache]` asks for opened, closed, and told of clears?"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.cache.caching import Caching, Shared, open_caching
from gateway.cache.entry import Entry
from gateway.cache.epochs import Epochs, labels
from gateway.cache.tally import Tally
from gateway.config import Cache, Config
from tests.fakes.datakeys import FakeDataKeys

KEYS = {team: labels(f"team:{team}", "", "smart") + b"digest" for team in ("red", "blue")}


def entry() -> Entry:
    return Entry(
        kind="completion",
        payload=b"an answer",
        usage=None,
        cost_nano_usd=None,
        stored_at=time.time(),
        expires_at=time.time() + 60,
    )


async def opened(stack: AsyncExitStack, home: Path, shared: Shared, cache: Cache) -> Caching:
    caching = await open_caching(Config(cache=cache), (), home, None, stack, shared)
    assert caching is not None
    return caching


def shared() -> Shared:
    return Shared(data_keys=FakeDataKeys(), epochs=Epochs(), tally=Tally())


async def test_the_memory_forgets_what_was_cleared_and_nothing_else(tmp_path: Path) -> None:
    common = shared()
    async with AsyncExitStack() as stack:
        caching = await opened(stack, tmp_path, common, Cache())
        for key in KEYS.values():
            caching.memory.put(key, entry())
        common.epochs.replace({("team:red", "", ""): 1})
        assert caching.memory.peek(KEYS["red"]) is None
        assert caching.memory.peek(KEYS["blue"])


async def test_what_is_being_sealed_is_written_before_the_disk_is_closed(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        settings = Cache(store="disk", encrypt=True)
        caching = await opened(stack, tmp_path, shared(), settings)
        assert caching.seals is not None
        assert caching.behind is not None
        caching.seals.put(caching.behind, "team:red", KEYS["red"], entry())
    stored = (tmp_path / "cache.db").read_bytes()
    assert KEYS["red"] in stored
    assert b"an answer" not in stored


async def test_off_is_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        off = Config(cache=Cache(store="off"))
        assert await open_caching(off, (), tmp_path, None, stack, shared()) is None
