"""Do both places for limits decide alike: all or nothing, exactly, and given back once?"""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from gateway.limits.demand import Demand, Limit, Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.store.redis import Redis
from tests.gateway.limits.places import SECOND_US, Place, Time

RPM = Limit("requests", "key", "k1", 100)
TPM = Limit("tokens", "key", "k1", 1000)
TEAM = Limit("requests", "team", "red", 3)
FOUR = Limit("concurrent", "key", "k1", 4)


_slots = count()


def demand(*limits: Limit, tokens: int = 0) -> Demand:
    return Demand(
        tuple(limit for limit in limits if limit.kind != "concurrent"),
        tuple(limit for limit in limits if limit.kind == "concurrent"),
        tokens,
        f"call{next(_slots)}",
    )


async def admitted(limiter: Limiter, *limits: Limit, times: int, tokens: int = 0) -> int:
    answers = await asyncio.gather(
        *(limiter.take(demand(*limits, tokens=tokens)) for _ in range(times))
    )
    return sum(answer.grant is not None for answer in answers)


async def test_two_processes_admit_exactly_the_limit_and_then_its_rate(place: Place) -> None:
    one, other = place.limiter(), place.limiter()
    seen = 0
    for _ in range(20):  # 400 calls within the first second
        seen += sum(
            await asyncio.gather(admitted(one, RPM, times=10), admitted(other, RPM, times=10))
        )
        place.time.now_us += SECOND_US // 20
    assert seen == 101  # a burst of 100, and one for the 0.95 s in which calls came
    for _ in range(6):
        place.time.now_us += SECOND_US
        seen += await admitted(one, RPM, times=5) + await admitted(other, RPM, times=5)
    assert seen == 100 + 11  # one each 0.6 s until 7.0 s


async def test_a_refusal_says_how_long_and_takes_nothing_from_any_limit(place: Place) -> None:
    limiter = place.limiter()
    assert await admitted(limiter, RPM, TEAM, FOUR, times=3) == 3
    refused = await limiter.take(demand(RPM, TEAM, FOUR))
    assert (refused.grant, refused.verdict.refused_by) == (None, TEAM)
    assert refused.verdict.wait_s == 20.0
    (level,) = (await limiter.peek(demand(RPM))).verdict.levels
    assert level.remaining == 100 - 3 - 1  # the last one is the peek's own
    assert limiter.slots() == 3
    place.time.now_us += 20 * SECOND_US - 1
    assert (await limiter.take(demand(RPM, TEAM))).verdict.wait_s == 1e-6
    place.time.now_us += 1
    assert (await limiter.take(demand(RPM, TEAM))).grant is not None


async def test_peek_changes_nothing_and_says_what_take_would(place: Place) -> None:
    limiter = place.limiter()
    asked = demand(RPM, TPM, FOUR, tokens=300)
    for _ in range(3):
        looked = await limiter.peek(asked)
        assert looked.grant is None
        assert [level.remaining for level in looked.verdict.levels] == [99, 700, 3]
    assert looked.verdict == (await limiter.take(asked)).verdict


@pytest.mark.parametrize(("used", "left"), [(300, 700), (0, 1000), (100, 900), (1500, 0)])
async def test_tokens_are_corrected_to_what_was_used(place: Place, used: int, left: int) -> None:
    limiter = place.limiter()
    answer = await limiter.take(demand(TPM, FOUR, tokens=300))
    assert answer.grant is not None
    await answer.grant.end(used)
    await answer.grant.end(used)  # once is enough
    (level,) = (await limiter.peek(demand(TPM))).verdict.levels
    assert level.remaining == left
    assert level.reset_s == used * 60 / 1000


async def test_a_demand_above_the_whole_limit_can_never_be_met(place: Place) -> None:
    verdict = (await place.limiter().take(demand(RPM, TPM, tokens=1001))).verdict
    assert (verdict.never, verdict.refused_by, verdict.wait_s) == (True, TPM, None)


async def test_slots_are_free_again_when_calls_end(place: Place) -> None:
    one, other = place.limiter(), place.limiter()
    answers = [await limiter.take(demand(FOUR)) for limiter in (one, other) * 2]
    assert all(answer.grant for answer in answers)
    full = await one.take(demand(FOUR))
    assert (full.grant, full.verdict.refused_by, full.verdict.wait_s) == (None, FOUR, None)
    assert answers[1].grant is not None
    await answers[1].grant.end(0)
    await answers[1].grant.end(0)
    assert await admitted(one, FOUR, times=3) == 1
    assert one.slots() + other.slots() in (4, 8)  # 8: in memory both are the same


async def test_memory_forgets_what_has_drained() -> None:
    time = Time()
    limiter = MemoryLimiter(time)
    for number in range(5000):
        time.now_us += SECOND_US
        await limiter.take(demand(Limit("requests", "key", f"k{number}", 60)))
    assert len(limiter) <= 1024


async def test_the_slots_of_a_dead_process_are_free_when_their_lease_is_over(
    redis_place: Place,
) -> None:
    dead, alive = redis_place.limiter(), redis_place.limiter()
    assert isinstance(alive, RedisLimiter)
    assert await admitted(dead, FOUR, times=3) == 3
    assert await admitted(alive, FOUR, times=3) == 1
    redis_place.time.now_us += 4 * SECOND_US
    await alive.renew()
    assert await admitted(alive, FOUR, times=3) == 0
    redis_place.time.now_us += 2 * SECOND_US  # the dead one's are over, the renewed one is not
    assert await admitted(alive, FOUR, times=9) == 3


async def test_what_a_cancelled_caller_takes_is_given_back(redis_place: Place) -> None:
    limiter = redis_place.limiter()
    for _ in range(20):
        taking = asyncio.create_task(limiter.take(demand(FOUR, TPM, tokens=10)))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
    left: list[int] = []
    async with asyncio.timeout(10):
        while left != [1000, 3]:  # the 3 are beside the one that is asked for
            levels = (await limiter.peek(demand(FOUR, TPM))).verdict.levels
            left = [level.remaining for level in levels]
    assert limiter.slots() == 0


async def test_redis_keeps_nothing_that_has_drained(redis_place: Place) -> None:
    limiter = redis_place.limiter()
    answer = await limiter.take(demand(RPM, TPM, FOUR, tokens=100))
    redis = limiter._scripts  # type: ignore[union-attr]
    assert isinstance(redis, Redis)
    for limit in (RPM, TPM, FOUR):
        name = redis.key("limit", limit.name)
        expiry_ms = await redis.run(lambda client, name=name: client.pttl(name))  # type: ignore[misc]
        assert 0 < (expiry_ms or 0) <= 6001
    assert answer.grant is not None
    await answer.grant.end(0)
    assert await redis.run(lambda client: client.exists(redis.key("limit", TPM.name))) == 0
