"""Is a concurrency slot in Redis one call's, from its taking to its end?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from gateway.limits.demand import Demand, Limit
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.store.redis import Redis, Script
from tests.redis_server import RedisServer, redis_server

FOUR = Limit("concurrent", "key", "k1", 4)
_slots = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def limiter(server: RedisServer) -> AsyncIterator[RedisLimiter]:
    redis = Redis(server.url, timeout_s=5.0)
    made = RedisLimiter(redis, Script, MemoryLimiter(), process="p")
    try:
        yield made
    finally:
        await made.aclose()
        await redis.aclose()


def demand() -> Demand:
    return Demand((), (FOUR,), 0, f"call{next(_slots)}")


async def left(limiter: RedisLimiter) -> int:
    """The slots that are free, as Redis has it."""
    (level,) = (await limiter.peek(demand())).verdict.levels
    return level.remaining + 1  # the peek's own


async def test_who_asks_again_after_leaving_holds_a_slot_of_its_own(limiter: RedisLimiter) -> None:
    """A queue's last look goes by the name of the one that its time-out cut short."""
    asked = demand()
    leaving = asyncio.create_task(limiter.take(asked))
    await asyncio.sleep(0)  # its question is on its way
    leaving.cancel()
    again = await limiter.take(asked)
    assert again.grant is not None
    with pytest.raises(asyncio.CancelledError):
        await leaving
    for _ in range(3):  # what was taken for nobody is given back meanwhile
        free = await left(limiter)
    assert (limiter.slots(), free) == (1, 3)
    await limiter.renew()
    await again.grant.end(0)
    assert (limiter.slots(), await left(limiter)) == (0, 4)
