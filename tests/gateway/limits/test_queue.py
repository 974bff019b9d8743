"""Who waits instead of being refused, for how long, and in which order?"""

from __future__ import annotations

import asyncio
import time
from itertools import count

import pytest

from gateway.limits.demand import Answer, Demand, Limit
from gateway.limits.memory import MemoryLimiter
from gateway.limits.queue import Queue

ONE = Limit("concurrent", "key", "k", 1)
OTHER = Limit("concurrent", "key", "other", 1)
FAST = Limit("requests", "key", "k", 1200)  # one each 50 ms
SLOW = Limit("requests", "key", "k", 60)
_slots = count()


def demand(limit: Limit, tokens: int = 0) -> Demand:
    rates = () if limit.kind == "concurrent" else (limit,)
    concurrent = (limit,) if limit.kind == "concurrent" else ()
    return Demand(rates, concurrent, tokens, f"c{next(_slots)}")


def queue(max_wait_s: float = 5.0, max_waiting: int = 100) -> Queue:
    return Queue(MemoryLimiter(), max_wait_s=max_wait_s, max_waiting=max_waiting)


async def take(line: Queue, limit: Limit, priority: int = 0, within_s: float = 60.0) -> Answer:
    deadline = asyncio.get_running_loop().time() + within_s
    return await line.take(demand(limit), priority=priority, deadline=deadline)


async def end(answer: Answer) -> None:
    assert answer.grant is not None
    await answer.grant.end(0)


async def test_without_a_wait_a_refusal_is_immediate() -> None:
    line = queue(0.0)
    assert (await take(line, ONE)).grant is not None
    assert (await take(line, ONE)).grant is None
    assert len(line) == 0


async def test_a_call_waits_until_another_ends() -> None:
    line = queue()
    running = await take(line, ONE)
    waiting = asyncio.create_task(take(line, ONE))
    await asyncio.sleep(0)
    assert len(line) == 1
    assert (await take(line, OTHER)).grant is not None  # whom it does not concern goes on
    await end(running)
    assert (await waiting).grant is not None
    assert len(line) == 0


async def test_higher_priorities_go_first_and_then_who_came_first() -> None:
    line, order = queue(), []
    running = await take(line, ONE)

    async def one(name: str, priority: int) -> None:
        answer = await take(line, ONE, priority)
        order.append(name)
        await end(answer)

    tasks = []
    for name, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 9), ("e", 5)]:
        tasks.append(asyncio.create_task(one(name, priority)))
        await asyncio.sleep(0)
    await end(running)
    await asyncio.gather(*tasks)
    assert order == ["d", "b", "e", "a", "c"]


async def test_a_rate_is_waited_for_exactly() -> None:
    line = queue()
    for _ in range(1200):
        assert (await take(line, FAST)).grant is not None
    began = time.monotonic()
    answers = await asyncio.gather(*(take(line, FAST) for _ in range(4)))
    assert all(answer.grant for answer in answers)
    assert 0.1 < time.monotonic() - began < 2.0


@pytest.mark.parametrize(("max_wait_s", "within_s"), [(0.5, 60.0), (60.0, 0.5)])
async def test_what_would_come_too_late_is_refused_at_once(
    max_wait_s: float, within_s: float
) -> None:
    line = queue(max_wait_s)
    for _ in range(60):
        await take(line, SLOW)
    began = time.monotonic()
    refused = await take(line, SLOW, within_s=within_s)
    assert refused.grant is None
    assert refused.verdict.wait_s == pytest.approx(1.0, abs=0.3)
    assert time.monotonic() - began < 0.3


@pytest.mark.parametrize(("max_wait_s", "within_s"), [(0.1, 60.0), (60.0, 0.1)])
async def test_nobody_waits_longer_than_allowed(max_wait_s: float, within_s: float) -> None:
    line = queue(max_wait_s)
    await take(line, ONE)
    began = time.monotonic()
    assert (await take(line, ONE, within_s=within_s)).grant is None
    assert 0.09 < time.monotonic() - began < 2.0
    assert len(line) == 0


async def test_the_queue_is_bounded() -> None:
    line = queue(max_waiting=2)
    running = await take(line, ONE)
    waiting = [asyncio.create_task(take(line, ONE)) for _ in range(2)]
    await asyncio.sleep(0)
    assert (await take(line, ONE)).grant is None
    await end(running)
    for task in asyncio.as_completed(waiting):
        await end(await task)


async def test_who_leaves_lets_the_next_one_go_on() -> None:
    line = queue()
    running = await take(line, ONE)
    first, second = (asyncio.create_task(take(line, ONE)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.wait([first])
    await end(running)
    assert (await second).grant is not None
    assert len(line) == 0


async def test_a_full_queue_is_no_way_past_it() -> None:
    line = queue(max_waiting=1)
    running = await take(line, ONE)
    waiting = asyncio.create_task(take(line, ONE))
    await asyncio.sleep(0)
    await end(running)  # who waits has not asked again yet
    late = await take(line, ONE, priority=9)
    assert (late.grant, late.verdict.refused_by, late.verdict.wait_s) == (None, ONE, None)
    assert (await take(line, OTHER)).grant is not None
    assert (await waiting).grant is not None


async def test_who_has_waited_in_vain_goes_past_nobody() -> None:
    line = queue()
    running = await take(line, ONE)
    first = asyncio.create_task(take(line, ONE, priority=9))
    second = asyncio.create_task(take(line, ONE, within_s=0.005))
    await asyncio.sleep(0)
    await end(running)  # the first one asks again after 25 ms
    assert (await second).grant is None
    assert (await first).grant is not None
