"""Has a target room, in memory and in one Redis for several processes?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from gateway.config import ModelLimits, RateLimits
from gateway.errors import RateLimitExceeded
from gateway.exchange import Call
from gateway.limits.redis import RedisLimiter
from gateway.limits.targets import Room, TargetLimits
from gateway.targets import Credential
from gateway.trace import Paused, Skipped
from tests.builders import KEY, call, target
from tests.gateway.limits.places import SECOND_US, Place

A, B, C = target("p/a"), target("q/b"), target("r/c")
_ids = count()


def made(**more: Any) -> Call:
    return call(**more).with_(id=f"call{next(_ids)}")


def limits(place: Place, **of: ModelLimits) -> TargetLimits:
    """Limits by `p_a` for `p/a`, and `p_all` for all of `p`."""
    named = {name.replace("_", "/").replace("all", "*"): own for name, own in of.items()}
    return TargetLimits(RateLimits(targets=named), place.limiter())


def later() -> float:
    return asyncio.get_running_loop().time() + 60.0


async def refusal(asked: TargetLimits, *targets: Any, of: Call | None = None) -> RateLimitExceeded:
    with pytest.raises(RateLimitExceeded) as raised:
        await asked.first(of or made(), targets, later())
    return raised.value


async def test_two_processes_let_exactly_the_limit_of_a_target_pass(place: Place) -> None:
    own = ModelLimits(rpm=20)
    one, other = limits(place, p_a=own), limits(place, p_a=own)
    seen: Counter[str] = Counter()

    async def attempt(asked: TargetLimits) -> None:
        seen[(await asked.first(made(), (A, B), later())).target.name] += 1

    for _ in range(10):
        await asyncio.gather(*(attempt(asked) for asked in (one, other) for _ in range(3)))
        place.time.now_us += SECOND_US // 10
    assert seen == {"p/a": 20, "q/b": 40}
    place.time.now_us += 2 * SECOND_US  # 3.0 s since the first: one more
    await asyncio.gather(*(attempt(asked) for asked in (one, other) for _ in range(3)))
    assert seen["p/a"] == 21


async def test_a_full_target_is_passed_over_and_the_trace_says_so(place: Place) -> None:
    asked = limits(place, p_a=ModelLimits(rpm=1), q_b=ModelLimits(concurrent=1))
    chosen = []
    for _ in range(3):
        of = made()
        chosen.append((await asked.first(of, (A, B, C), later())).target.name)
        skipped = [(fact.target, fact.reason) for fact in of.trace.all(Skipped)]
        assert skipped == [(name, "limit") for name in chosen[:-1]]
    assert chosen == ["p/a", "q/b", "r/c"]


async def test_a_target_without_limits_asks_nobody(place: Place) -> None:
    asked = limits(place, p_a=ModelLimits(rpm=1))
    assert await asked.first(made(), (B, A), later()) == Room(B)
    assert await asked.at(made(), B) == Room(B)


async def test_the_limits_of_a_provider_are_those_of_all_its_models_together(place: Place) -> None:
    asked = limits(place, p_all=ModelLimits(rpm=2), p_a=ModelLimits(rpm=1))
    other = target("p/other")
    assert (await asked.at(made(), A)) is not None
    assert (await asked.at(made(), A)) is None
    assert (await asked.at(made(), other)) is not None
    assert (await asked.at(made(), other)) is None
    assert (await asked.at(made(), target("pp/other"))) is not None


async def test_another_credential_of_a_full_target_is_not_asked_for(place: Place) -> None:
    asked = limits(place, p_a=ModelLimits(rpm=1))
    second = replace(A, credential=Credential("second"))
    await asked.at(made(), A)
    of = made()
    assert (await asked.first(of, (A, second, B), later())).target is B
    assert [fact.target for fact in of.trace.all(Skipped)] == ["p/a"]


@pytest.mark.parametrize(
    ("of", "retry_after_s", "should_retry"),
    [
        ({"p_a": ModelLimits(rpm=1), "q_b": ModelLimits(rpm=2)}, 30.0, None),
        ({"p_a": ModelLimits(rpm=2), "q_b": ModelLimits(rpm=1)}, 30.0, None),
        ({"p_a": ModelLimits(concurrent=1), "q_b": ModelLimits(rpm=2)}, 30.0, None),
        ({"p_a": ModelLimits(concurrent=1), "q_b": ModelLimits(concurrent=1)}, None, None),
        ({"p_a": ModelLimits(tpm=1), "q_b": ModelLimits(rpm=1)}, 60.0, None),
        ({"p_a": ModelLimits(tpm=1), "q_b": ModelLimits(tpm=2)}, None, False),
    ],
)
async def test_where_all_are_full_the_refusal_says_the_shortest_time_that_is_left(
    place: Place, of: dict[str, ModelLimits], retry_after_s: float | None, should_retry: bool | None
) -> None:
    asked = limits(place, **of)
    for at in (A, B):
        while await asked.at(made(), at):
            pass
    error = await refusal(asked, A, B)
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert (error.retry_after_s, error.should_retry) == (retry_after_s, should_retry)
    assert "target's limit" in error.message


async def test_an_attempt_gives_back_what_it_held(place: Place) -> None:
    own = ModelLimits(concurrent=1, tpm=10_000)
    one, other = limits(place, p_a=own), limits(place, p_a=own)
    room = await one.at(made(body={"max_tokens": 9_000}), A)
    assert room is not None
    assert room.grant is not None
    assert await other.at(made(), A) is None
    await room.grant.end(4_000)
    again = await other.at(made(body={"max_tokens": 5_900}), A)
    assert again is not None
    assert again.grant is not None
    await again.grant.end(5_900)
    assert await one.at(made(body={"max_tokens": 200}), A) is None


async def test_attempts_of_one_call_hold_places_of_their_own(place: Place) -> None:
    asked = limits(place, p_a=ModelLimits(concurrent=2))
    of = made()
    first = await asked.at(of, A)
    second = await asked.at(of.with_(attempt=1), A)
    assert first is not None
    assert second is not None
    assert await asked.at(of.with_(attempt=2), A) is None
    assert first.grant is not None
    await first.grant.end(0)
    assert await asked.at(of.with_(attempt=2), A) is not None


async def test_a_dry_run_looks_and_takes_nothing(place: Place) -> None:
    asked = limits(place, p_a=ModelLimits(rpm=1, concurrent=1))
    for _ in range(3):
        assert await asked.first(made(dry_run=True), (A, B), later()) == Room(A)
        assert await asked.at(made(dry_run=True), A) == Room(A)
    await asked.at(made(), A)
    of = made(dry_run=True)
    assert await asked.first(of, (A, B), later()) == Room(B)
    assert [fact.target for fact in of.trace.all(Skipped)] == ["p/a"]
    error = await refusal(asked, A, of=made(dry_run=True))
    assert error.retry_after_s == 60.0


async def test_the_place_of_a_dead_process_is_free_when_its_lease_is_over(
    redis_place: Place,
) -> None:
    own = ModelLimits(concurrent=1)
    dead, alive = limits(redis_place, p_a=own), limits(redis_place, p_a=own)
    assert await dead.at(made(), A) is not None
    redis_place.time.now_us += 4 * SECOND_US
    assert await alive.at(made(), A) is None
    redis_place.time.now_us += 2 * SECOND_US
    assert await alive.at(made(), A) is not None


# ------------------------------------------------------------------------------- waiting


@pytest.fixture
def waiting(place: Place) -> Callable[..., TargetLimits]:
    def build(**settings: Any) -> TargetLimits:
        own = RateLimits(targets={"p/a": ModelLimits(concurrent=1)}, **settings)
        return TargetLimits(own, place.limiter())

    return build


async def test_a_call_waits_for_a_full_target_if_calls_may(
    waiting: Callable[..., TargetLimits],
) -> None:
    asked = waiting(max_wait_s=30.0)
    held = await asked.at(made(), A)
    of = made()
    comes = asyncio.create_task(asked.first(of, (A,), later()))
    await asyncio.sleep(0.06)
    assert not comes.done()
    assert held is not None
    assert held.grant is not None
    await held.grant.end(0)
    room = await comes
    assert room.grant is not None
    assert len(of.trace.all(Paused)) == 1
    assert of.trace.all(Paused)[0].seconds >= 0.05


async def test_nobody_goes_past_those_who_wait(waiting: Callable[..., TargetLimits]) -> None:
    asked = waiting(max_wait_s=30.0)
    held = await asked.at(made(), A)
    order: list[str] = []

    async def come(name: str, **settings: int) -> None:
        of = made(key=replace(KEY, settings=settings))
        room = await asked.first(of, (A,), later())
        order.append(name)
        assert room.grant is not None
        await room.grant.end(0)

    comes = [asyncio.create_task(come("first"))]
    await asyncio.sleep(0.03)
    comes.append(asyncio.create_task(come("urgent", priority=1)))
    await asyncio.sleep(0.03)
    assert held is not None
    assert held.grant is not None
    await held.grant.end(0)
    assert await asked.at(made(), A) is None, "it is free, but others were here first"
    await asyncio.gather(*comes)
    assert order == ["urgent", "first"]


async def test_who_waits_in_vain_is_refused(waiting: Callable[..., TargetLimits]) -> None:
    asked = waiting(max_wait_s=0.05)
    await asked.at(made(), A)
    error = await refusal(asked, A)
    assert error.retry_after_s is None
    with pytest.raises(RateLimitExceeded):  # the deadline is over before the wait is
        await waiting(max_wait_s=30.0).first(made(), (A,), later() - 59.98)


async def test_a_call_waits_for_what_has_room_in_time(place: Place) -> None:
    named = {"p/a": ModelLimits(rpm=1), "q/b": ModelLimits(concurrent=1)}
    asked = TargetLimits(RateLimits(targets=named, max_wait_s=10.0), place.limiter())
    await asked.at(made(), A)  # in a minute
    held = await asked.at(made(), B)
    dry = await asked.first(made(dry_run=True), (A, B), later())
    comes = asyncio.create_task(asked.first(made(), (A, B), later()))
    await asyncio.sleep(0.03)
    assert held is not None
    assert held.grant is not None
    await held.grant.end(0)
    assert (await comes).target is dry.target is B


async def test_redis_leaves_no_places_behind(redis_place: Place) -> None:
    own = ModelLimits(concurrent=2)
    limiter = redis_place.limiter()
    assert isinstance(limiter, RedisLimiter)
    asked = TargetLimits(RateLimits(targets={"p/a": own}), limiter)
    for _ in range(10):
        room = await asked.at(made(), A)
        assert room is not None
        assert room.grant is not None
        await room.grant.end(0)
    assert limiter.slots() == 0
