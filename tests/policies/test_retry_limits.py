"""Is a full target passed over by every attempt, and its place given back by every ending?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.config import Health as HealthSettings
from gateway.config import ModelLimits, RateLimits
from gateway.config import Retry as Settings
from gateway.errors import (
    BudgetExceeded,
    InvalidPrompt,
    Overloaded,
    RateLimited,
    RateLimitExceeded,
    ServerError,
    SluiceError,
)
from gateway.exchange import Call, Completion, Reply, Stream
from gateway.health import Health
from gateway.limits.demand import Limit, demand_of
from gateway.limits.memory import MemoryLimiter
from gateway.limits.targets import TargetLimits
from gateway.targets import Target
from gateway.trace import AttemptEnded, AttemptStarted, Skipped
from gateway.usage import Usage
from policies.retry import Retry
from tests.builders import Answers, call, completion, stream, target, text_event
from tests.fakes.clock import Clock

A, B, C = target("p/a"), target("q/b"), target("r/c")


class World:
    """Retry over targets with limits, on clocks that stand still unless somebody sleeps."""

    def __init__(self, limits: dict[str, ModelLimits], **settings: Any) -> None:
        self.clock = Clock()
        self.limiter = MemoryLimiter(lambda: int(self.clock.now * 1e6))
        self.health = Health(HealthSettings(), clock=self.clock)
        self.retry = Retry(
            Settings(**settings),
            self.health,
            limits=TargetLimits(RateLimits(targets=limits), self.limiter),
            clock=self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: 1.0,
        )
        self._calls = 0

    def call(self, *targets: Target, **more: Any) -> Call:
        self._calls += 1
        made = call(candidates=targets, **more)
        return made.with_(id=f"call{self._calls}", deadline=self.clock.now + 1000)

    async def path(self, made: Call, *answers: Reply | BaseException) -> str:
        """The targets that were attempted, by letter; a `!` after them where the call failed."""
        handler, end = Answers(*answers), ""
        try:
            await self.retry(made, handler)
        except SluiceError:
            end = "!"
        assert [f.number for f in made.trace.all(AttemptStarted)] == [
            number + 1 for number in range(len(handler.calls))
        ], "a full target uses up no number"
        return "".join(asked.chosen.model.name for asked in handler.calls) + end


ONE = ModelLimits(rpm=1)


async def test_first_attempts_go_where_there_is_room() -> None:
    world = World({"p/a": ONE, "q/b": ONE})
    assert [await world.path(world.call(A, B, C), completion()) for _ in range(3)] == [*"abc"]
    assert all(world.health.usable(at) for at in (A, B, C))


async def test_where_all_are_full_no_attempt_is_made() -> None:
    world = World({"p/a": ONE})
    await world.path(world.call(A), completion())
    made = world.call(A)
    assert await world.path(made, completion()) == "!"
    assert [fact.describe()["reason"] for fact in made.trace.all(Skipped)] == ["limit"]
    with pytest.raises(RateLimitExceeded) as raised:
        await world.retry(world.call(A), Answers(completion()))
    assert raised.value.headers() == {"retry-after": "60", "retry-after-ms": "60000"}


@pytest.mark.parametrize(
    ("limits", "failure", "path"),
    [
        ({"p/a": ModelLimits(rpm=2)}, ServerError("x"), "aabbb!"),  # of three
        ({"p/a": ModelLimits(rpm=1)}, ServerError("x"), "abbb!"),
        ({"p/a": ONE, "q/b": ONE}, ServerError("x"), "ab!"),
        ({"q/b": ModelLimits(rpm=2)}, Overloaded("x"), "aaabb!"),
        ({"q/b": ONE}, RateLimited("x"), "ab!"),
        ({"p/a": ONE}, InvalidPrompt("x"), "a!"),
    ],
)
async def test_further_attempts_take_from_the_limits_too(
    limits: dict[str, ModelLimits], failure: SluiceError, path: str
) -> None:
    world = World(limits)
    assert await world.path(world.call(A, B), failure) == path


async def test_the_next_one_is_taken_where_the_second_choice_is_full() -> None:
    world = World({"q/b": ONE})
    await world.path(world.call(B), completion())
    made = world.call(A, B, C)
    assert await world.path(made, RateLimited("x"), completion()) == "ac"
    assert [fact.target for fact in made.trace.all(Skipped)] == ["q/b"]


async def test_a_failing_target_is_tried_again_where_the_next_one_is_full() -> None:
    world = World({"q/b": ONE})
    await world.path(world.call(B), completion())
    assert await world.path(world.call(A, B), RateLimited("x"), completion()) == "aa"


async def test_a_cheaper_target_that_is_full_is_no_way_out() -> None:
    world = World({"q/b": ONE})
    await world.path(world.call(B), completion())
    assert await world.path(world.call(A, B), BudgetExceeded("x")) == "a!"


async def test_a_retry_in_vain_for_want_of_room_says_so_with_the_failure() -> None:
    world = World({"p/a": ONE})
    failure = ServerError("x")
    with pytest.raises(ServerError) as raised:
        await world.retry(world.call(A), Answers(failure))
    assert raised.value is failure
    assert raised.value.should_retry is None


async def ends_well(world: World, made: Call) -> None:
    await world.retry(made, Answers(completion()))


async def fails(world: World, made: Call) -> None:
    with pytest.raises(ServerError):
        await world.retry(made, Answers(ServerError("x")))


async def is_refused_below(world: World, made: Call) -> None:
    with pytest.raises(BudgetExceeded):
        await world.retry(made, Answers(BudgetExceeded("x")))


async def breaks(world: World, made: Call) -> None:
    with pytest.raises(RuntimeError):
        await world.retry(made, Answers(RuntimeError("x")))


async def is_left(world: World, made: Call) -> None:
    with pytest.raises(asyncio.CancelledError):
        await world.retry(made, Answers(asyncio.CancelledError("client_gone")))


async def streams(world: World, made: Call) -> None:
    reply = await world.retry(made, Answers(stream([text_event("a")])))
    assert isinstance(reply, Stream)
    assert world.limiter.slots() == 1, "held while the stream runs"
    assert [events async for events in reply]


async def streams_unread(world: World, made: Call) -> None:
    reply = await world.retry(made, Answers(stream([text_event("a")])))
    assert isinstance(reply, Stream)
    await reply.aclose()


async def stream_breaks(world: World, made: Call) -> None:
    reply = await world.retry(made, Answers(stream([text_event("a")], ServerError("x"))))
    assert isinstance(reply, Stream)
    with pytest.raises(ServerError):
        _ = [events async for events in reply]


ENDINGS = [
    ends_well,
    fails,
    is_refused_below,
    breaks,
    is_left,
    streams,
    streams_unread,
    stream_breaks,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_every_ending_gives_the_place_back(ending: Any) -> None:
    world = World({"p/a": ModelLimits(concurrent=1, tpm=10_000)})
    for _ in range(3):
        await ending(world, world.call(A))
        assert world.limiter.slots() == 0


async def test_tokens_are_those_of_the_attempt_at_this_target() -> None:
    world = World({"p/a": ModelLimits(tpm=10_000), "q/b": ModelLimits(tpm=10_000)})

    async def handler(asked: Call) -> Reply:
        usage = Usage(prompt_tokens=100 * asked.attempt, completion_tokens=0)
        ended = AttemptEnded(number=asked.attempt, charge_id="x", at_s=0.0, usage=usage)
        asked.trace.add(ended)
        if asked.target is A:
            raise InvalidPrompt("x") if asked.attempt > 1 else RateLimited("x")
        return Completion(data={})

    await world.retry(world.call(A, B), handler)
    left = {}
    for name in ("p/a", "q/b"):
        limit = Limit("tokens", "target", name, 10_000)
        demand = demand_of([limit], {"messages": [], "max_tokens": 1}, "x", 0)
        verdict = (await world.limiter.peek(demand)).verdict
        left[name] = verdict.levels[0].remaining + demand.tokens
    assert left == {"p/a": 9_900, "q/b": 9_800}


async def test_a_dry_run_finds_the_same_target_and_takes_nothing() -> None:
    world = World({"p/a": ONE})
    for _ in range(2):
        assert await world.path(world.call(A, B, dry_run=True), completion()) == "a"
    await world.path(world.call(A), completion())
    dry, real = world.call(A, B, dry_run=True), world.call(A, B)
    assert await world.path(dry, completion()) == await world.path(real, completion()) == "b"
    assert [f.describe() for f in dry.trace.all(Skipped)] == [
        f.describe() for f in real.trace.all(Skipped)
    ]
