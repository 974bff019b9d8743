"""Does a real Redis give each caller the caller's own entry, and cost little when it hangs?"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from itertools import product

import pytest

from gateway.cache.entry import Entry
from gateway.cache.epochs import Scope, labels
from gateway.cache.redis import RedisStore
from gateway.cache.sealed import Seals
from gateway.store.redis import Redis
from tests.fakes.datakeys import FakeDataKeys
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    client = Redis(server.url, timeout_s=5.0)
    yield client
    await client.aclose()


def key_of(number: int) -> bytes:
    return b"%032d" % number


def entry(payload: bytes, ttl_s: float = 60.0) -> Entry:
    now = time.time()
    return Entry(
        kind="completion",
        payload=payload,
        usage=None,
        cost_nano_usd=None,
        stored_at=now,
        expires_at=now + ttl_s,
    )


async def stored(store: RedisStore, key: bytes, kept: Entry) -> None:
    store.put(key, kept)
    await store.close()


async def test_an_entry_is_there_for_other_processes_until_it_expires(client: Redis) -> None:
    kept = entry(b"answer")
    await stored(RedisStore(client, time.time), key_of(1), kept)
    assert await RedisStore(client, time.time).get(key_of(1)) == kept
    assert await RedisStore(client, time.time).get(key_of(2)) is None
    left_ms = await client.run(lambda r: r.pttl(client.key("cache", key_of(1).hex())))
    assert left_ms is not None
    assert 50_000 < left_ms <= 60_000


async def test_what_has_expired_is_not_sent(client: Redis) -> None:
    store = RedisStore(client, time.time)
    await stored(store, key_of(3), entry(b"late", ttl_s=-1.0))
    assert await store.get(key_of(3)) is None


@pytest.mark.parametrize(
    "text", [b"", b"nonsense", *(key_of(4) + b for b in (b"", b"{}", b"1")), key_of(5)]
)
async def test_what_is_no_entry_of_this_key_is_a_miss(client: Redis, text: bytes) -> None:
    await client.run(lambda r: r.set(client.key("cache", key_of(4).hex()), text))
    assert await RedisStore(client, time.time).get(key_of(4)) is None


@pytest.mark.parametrize("sealed", [False, True])
async def test_ten_thousand_callers_of_whom_many_leave_get_their_own(
    client: Redis, sealed: bool
) -> None:
    rng = random.Random(7)  # noqa: S311 - repeats
    store = RedisStore(client, time.time)
    seals = Seals(FakeDataKeys())
    for number in range(100):
        if sealed:
            seals.put(store, owner_of(number), key_of(number), entry(b"%d" % number))
            await seals.close()
            await store.close()
        else:
            await stored(store, key_of(number), entry(b"%d" % number))
    left = 0

    async def look(number: int) -> Entry | None:
        found = await store.get(key_of(number))
        if not sealed:
            return found
        assert found is not None
        assert b"%d" % number != found.payload
        return await seals.opened(owner_of(number), key_of(number), found)

    async def one(number: int) -> None:
        nonlocal left
        asking = asyncio.create_task(look(number))
        if rng.random() < 0.3:
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            asking.cancel()
        (found,) = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(found, asyncio.CancelledError):
            left += 1
        else:
            assert isinstance(found, Entry), found
            assert found.payload == b"%d" % number

    for _ in range(20):
        async with asyncio.TaskGroup() as group:
            for _ in range(500):
                group.create_task(one(rng.randrange(100)))
    assert left > 100
    assert client.available


def owner_of(number: int) -> str:
    return f"team:{number % 7}"


async def test_a_scope_is_deleted(server: RedisServer) -> None:
    client = Redis(server.url, prefix="a[b]*c", timeout_s=5.0)
    others = Redis(server.url, prefix="abXc", timeout_s=5.0)
    places = list(product(("team:red", "team:blue"), ("", "tests"), ("smart", "fast")))
    keys = {place: labels(*place) + b"digest" for place in places}
    for redis in (client, others):
        for key in keys.values():
            await stored(RedisStore(redis, time.time), key, entry(b"answer"))
    store = RedisStore(client, time.time)
    assert await store.drop(Scope(owner="team:red", model="fast")) == 2
    left = [place for place, key in keys.items() if await store.get(key)]
    assert left == [p for p in places if (p[0], p[2]) != ("team:red", "fast")]
    assert await store.drop(Scope()) == 6
    assert all([await RedisStore(others, time.time).get(key) for key in keys.values()])
    with server.stopped():
        hasty = Redis(server.url, timeout_s=0.05)
        assert await RedisStore(hasty, time.time).drop(Scope()) is None
        await hasty.aclose()
    for redis in (client, others):
        await redis.aclose()


async def test_a_redis_that_hangs_is_waited_for_once(server: RedisServer) -> None:
    client = Redis(server.url, timeout_s=0.1)
    store = RedisStore(client, time.time)
    await stored(store, key_of(1), entry(b"answer"))
    with server.stopped():
        began = time.monotonic()
        assert await asyncio.gather(*(store.get(key_of(1)) for _ in range(50))) == [None] * 50
        once = time.monotonic() - began
        began = time.monotonic()
        for _ in range(100):
            assert await store.get(key_of(1)) is None
            store.put(key_of(2), entry(b"unsent"))
        after = time.monotonic() - began
    await store.close()
    await client.aclose()
    assert once < 1.0
    assert after < 0.1
