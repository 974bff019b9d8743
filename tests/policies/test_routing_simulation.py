"""A minute in which one of three providers fails half of its calls: who notices?

Calls come at a stated rate, on a clock that jumps to the next event. Only time is simulated: the
policies, their health and their budget are the real ones.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

import pytest

from gateway.config import Health as HealthSettings
from gateway.config import Retry as Settings
from gateway.config import Strategy
from gateway.directory import Resolution
from gateway.errors import ServerError, UpstreamFailure
from gateway.exchange import Call, Reply
from gateway.health import Health
from gateway.keys import VirtualKey
from gateway.picking import Picker
from gateway.trace import AttemptStarted
from policies.retry import Retry
from policies.route import Route
from tests.builders import call, completion, target
from tests.fakes.clock import Time

SICK, B, C = target("p/sick"), target("q/b"), target("r/c")
MINUTE_S = 60.0


class Directory:
    """One alias with three targets."""

    def __init__(self, strategy: Strategy) -> None:
        self._resolution = Resolution(
            alias="m", grants=("m",), targets=(SICK, B, C), strategy=strategy
        )

    async def resolve(self, name: str, key: VirtualKey) -> Resolution:
        return self._resolution


@dataclass
class Outcome:
    """What came of all calls."""

    calls: int = 0
    failed: int = 0
    again: int = 0
    at_the_sick: int = 0

    def count(self, made: Call) -> None:
        names = [fact.target.name for fact in made.trace.all(AttemptStarted)]
        self.again += len(names) - len(set(names))
        self.at_the_sick += names.count(SICK.name)


async def simulate(
    strategy: Strategy, rate: float, fails_s: float, answers_s: float, seed: int
) -> Outcome:
    """Calls at `rate` a second. `fails_s`: how soon a failure shows; `answers_s`: an answer."""
    time, chance, outcome = Time(), random.Random(seed), Outcome()  # noqa: S311 - to repeat
    health = Health(HealthSettings(), clock=time)
    route = Route(Directory(strategy), lambda body: frozenset(), Picker(health))  # type: ignore[arg-type]
    retry = Retry(Settings(), health, clock=time, sleep=time.sleep, jitter=chance.random)

    async def lane(asked: Call) -> Reply:
        if asked.chosen.name == SICK.name and chance.random() < 0.5:
            await time.sleep(fails_s)
            raise ServerError("x")
        await time.sleep(answers_s)
        return completion()

    async def one(number: int) -> None:
        await time.sleep(number / rate)
        made = call().with_(id=f"call_{seed}_{number}", deadline=time.now + 30)
        outcome.calls += 1
        try:
            await route(made, lambda routed: retry(routed, lane))
        except UpstreamFailure:
            outcome.failed += 1
        outcome.count(made)

    tasks = [asyncio.create_task(one(number)) for number in range(int(rate * MINUTE_S))]
    await time.run()
    await asyncio.gather(*tasks)
    return outcome


@pytest.mark.parametrize("strategy", ["order", "weighted", "least_busy", "lowest_latency"])
@pytest.mark.parametrize(
    ("fails_s", "answers_s"), [(0.02, 0.5), (0.5, 0.5), (2.0, 0.2)], ids=["fast", "even", "slow"]
)
async def test_a_provider_that_fails_half_of_its_calls_is_hardly_noticed(
    strategy: Strategy, fails_s: float, answers_s: float
) -> None:
    outcome = await simulate(strategy, 40.0, fails_s, answers_s, seed=7)
    assert outcome.calls == 2400
    assert outcome.failed / outcome.calls <= 0.001
    assert outcome.again / outcome.calls <= 0.2
    assert outcome.at_the_sick / outcome.calls <= 0.2, "it is benched most of the minute"


async def test_a_provider_that_is_alone_is_not_stormed() -> None:
    """Without another target half of all calls would be repeated; the budget holds them back."""
    time, chance = Time(), random.Random(3)  # noqa: S311 - to repeat
    retry = Retry(
        Settings(),
        Health(HealthSettings(), clock=time),
        clock=time,
        sleep=time.sleep,
        jitter=chance.random,
    )
    attempts = 0

    async def lane(asked: Call) -> Reply:
        nonlocal attempts
        attempts += 1
        await time.sleep(0.5)
        raise ServerError("x")

    async def one(number: int) -> None:
        await time.sleep(number / 200)
        made = call(candidates=(replace(SICK),)).with_(deadline=time.now + 30)
        with pytest.raises(ServerError):
            await retry(made, lane)

    tasks = [asyncio.create_task(one(number)) for number in range(2000)]
    await time.run()
    await asyncio.gather(*tasks)
    assert 2000 < attempts <= 2000 * 1.25
