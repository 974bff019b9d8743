"""Who answers where a second attempt runs beside a slow one, and what becomes of the other?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.budgets import Budgets
from gateway.config import Budgeting, ModelLimits, RateLimits, RetryRule
from gateway.config import Health as HealthSettings
from gateway.config import Retry as Settings
from gateway.errors import (
    BudgetExceeded,
    InvalidPrompt,
    ServerError,
    SluiceError,
    Unavailable,
    UpstreamFailure,
)
from gateway.exchange import Call, Completion, Handler, Reply, chain
from gateway.health import Attempt, Health
from gateway.hedging import LOST, Hedged
from gateway.limits.memory import MemoryLimiter
from gateway.limits.targets import TargetLimits
from gateway.meter import Pace
from gateway.record import attempts, trace_headers
from gateway.spending import Spending
from gateway.targets import Target
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, AttemptStarted
from gateway.usage import Usage
from policies.account import Account
from policies.retry import Retry
from tests.builders import call, completion, price, stream, target, text_event
from tests.fakes.accounts import Book
from tests.fakes.clock import Time
from tests.gateway.test_budgets import budget

A, B, C = target("p/a"), target("q/b"), target("r/c")
USUAL_S = 1.0
NO_RETRIES = {kind: RetryRule() for kind in ("server_error", "overloaded")}
Script = list[tuple[float, Reply | BaseException]]


class World:
    """Retry on virtual time, over targets whose usual answers have taken a second each."""

    def __init__(
        self, limits: dict[str, ModelLimits] | None = None, known: bool = True, **settings: Any
    ) -> None:
        self.time = Time(steps=40)
        self.health = Health(HealthSettings(consecutive_failures=2), clock=self.time)
        self.limiter = MemoryLimiter(lambda: int(self.time.now * 1e6))
        configured = {"hedge_percentile": 90.0, "rules": NO_RETRIES, **settings}
        self.retry = Retry(
            Settings(**configured),
            self.health,
            limits=TargetLimits(RateLimits(targets=limits), self.limiter) if limits else None,
            clock=self.time,
            sleep=self.time.sleep,
            jitter=lambda: 1.0,
        )
        self.path = ""
        self.cancelled: list[tuple[str, Any]] = []
        self._calls = 0
        self.known = known
        self.scripts: dict[str, Script] = {}

    def call(self, *targets: Target, **more: Any) -> Call:
        self._calls += 1
        made = call(candidates=targets, **more)
        return made.with_(id=f"call{self._calls}", deadline=self.time.now + 100)

    async def learn(self, *targets: Target) -> None:
        """Twenty answers that took a second each."""
        for at in targets:
            self.scripts[at.model.name] = [(USUAL_S, completion())] * 20
            for _ in range(20):
                await self._run(self.call(at), self.lane)
        self.path = ""

    async def run(
        self, made: Call, scripts: dict[str, Script], below: Handler | None = None
    ) -> tuple[str, float]:
        """Who answered, or the error, and after how long."""
        if self.known:
            await self.learn(*made.candidates)
        began = self.time.now
        made = made.with_(deadline=began + 100)
        self.scripts = {name: list(script) for name, script in scripts.items()}
        reply = await self._run(made, below or self.lane)
        served = reply.data["served"] if isinstance(reply, Completion) else reply
        return str(served), self._ended - began

    async def _run(self, made: Call, handler: Handler) -> Reply | str:
        task = asyncio.create_task(self.attempt(made, handler))
        await self.time.run()
        return await task

    async def attempt(self, made: Call, handler: Handler) -> Reply | str:
        try:
            return await self.retry(made, handler)
        except SluiceError as error:
            return f"{error.kind}{'!' if error.should_retry is False else ''}"
        finally:
            self._ended = self.time.now

    async def lane(self, asked: Call) -> Reply:
        at, trace = asked.chosen, asked.trace
        self.path += at.model.name
        trace.add(AttemptSent(asked.attempt, self.time.now))
        script = self.scripts[at.model.name]
        takes_s, answer = script.pop(0)
        try:
            await self.time.sleep(takes_s)
        except asyncio.CancelledError as error:
            self.cancelled.append((at.model.name, error.args[0] if error.args else None))
            raise
        if isinstance(answer, BaseException):
            raise type(answer)("x")
        trace.add(AttemptAnswered(asked.attempt, self.time.now))
        if isinstance(answer, Completion):
            return answer.with_data({**answer.data, "served": at.model.name})
        return answer


OK = completion()
FAILED, FINAL = ServerError("x"), InvalidPrompt("x")


@pytest.mark.parametrize(
    ("first", "second", "served", "after_s", "path", "won", "cancelled"),
    [
        ((0.5, OK), (9.0, OK), "a", 0.5, "a", None, ""),
        ((1.0, OK), (9.0, OK), "a", 1.0, "a", None, ""),
        ((5.0, OK), (1.0, OK), "b", 2.0, "ab", "hedge", "a"),
        ((5.0, OK), (9.0, OK), "a", 5.0, "ab", "first", "b"),
        ((5.0, OK), (0.5, FAILED), "a", 5.0, "ab", "first", ""),
        ((5.0, OK), (0.5, FINAL), "a", 5.0, "ab", "first", ""),
        ((2.0, FAILED), (3.0, OK), "b", 4.0, "ab", "hedge", ""),
        ((2.0, FINAL), (3.0, OK), "b", 4.0, "ab", "hedge", ""),
        ((2.0, FAILED), (3.0, FINAL), "server_error!", 4.0, "ab", "neither", ""),
        ((3.0, FINAL), (1.0, FAILED), "invalid_prompt!", 3.0, "ab", "neither", ""),
        ((0.5, FINAL), (1.0, OK), "invalid_prompt", 0.5, "a", None, ""),
        ((2.0, BudgetExceeded("x")), (3.0, OK), "b", 4.0, "ab", "hedge", ""),
        ((2.0, Unavailable("x")), (3.0, OK), "unavailable", 2.0, "ab", "neither", "b"),
        ((5.0, OK), (0.5, Unavailable("x")), "a", 5.0, "ab", "first", ""),
    ],
)
async def test_the_first_answer_wins(
    first: tuple[float, Any],
    second: tuple[float, Any],
    served: str,
    after_s: float,
    path: str,
    won: str | None,
    cancelled: str,
) -> None:
    world = World()
    made = world.call(A, B)
    assert await world.run(made, {"a": [first], "b": [second]}) == (served, pytest.approx(after_s))
    assert world.path == path
    assert world.cancelled == [(name, LOST) for name in cancelled]
    facts = made.trace.all(Hedged)
    assert [(fact.number, fact.target, fact.won) for fact in facts] == (
        [(2, "p/a", won)] if won else []
    )
    assert world.health.load.in_flight("p/a") == world.health.load.in_flight("q/b") == 0


async def test_what_stands_last_in_the_trace_is_true_of_the_answer() -> None:
    for second_s, served, made_it in ((1.0, "q/b", 2), (9.0, "p/a", 1)):
        world = World()
        made = world.call(A, B)
        await world.run(made, {"a": [(5.0, OK)], "b": [(second_s, OK)]})
        started, answered = made.trace.last(AttemptStarted), made.trace.last(AttemptAnswered)
        assert started is not None
        assert answered is not None
        assert (started.target.name, started.number) == (served, made_it)
        assert answered.number == made_it
        assert attempts(made.trace).served == served
        assert attempts(made.trace).made == 2


@pytest.mark.parametrize("most", [0.1, 3.0])
async def test_a_hedge_waits_for_the_percentile_but_at_least_for_the_minimum(most: float) -> None:
    world = World(hedge_min_s=most)
    made = world.call(A, B)
    await world.run(made, {"a": [(9.0, OK)], "b": [(0.25, OK)]})
    (hedged,) = made.trace.all(Hedged)
    assert hedged.after_s == pytest.approx(max(most, USUAL_S))
    assert hedged.describe() == {
        "fact": "hedged",
        "number": 2,
        "ms": int(hedged.after_s * 1000),
        "won": "hedge",
    }


@pytest.mark.parametrize(
    ("known", "more", "settings"),
    [
        (True, {}, {"hedge_percentile": None}),
        (False, {}, {}),  # nobody knows what is slow
        (True, {"stream": True}, {}),
        (True, {"dry_run": True}, {}),
        (True, {}, {"budget_share": 0.0, "budget_least": 0}),
        (True, {}, {"min_attempt_s": 99.0}),  # too late for another
    ],
)
async def test_no_hedge_is_made(known: bool, more: Any, settings: dict[str, Any]) -> None:
    world = World(known=known, **settings)
    made = world.call(A, B, **more)
    answer = stream([text_event("x")]) if "stream" in more else OK
    await world.run(made, {"a": [(5.0, answer)], "b": [(1.0, OK)]})
    assert world.path == "a"
    assert made.trace.all(Hedged) == []
    assert [fact.number for fact in made.trace.all(AttemptStarted)] == [1]


async def test_a_hedge_goes_to_a_healthy_target_and_else_to_the_same() -> None:
    world = World()
    await world.learn(A, B, C)
    for _ in range(2):
        with pytest.raises(ServerError), Attempt(world.health, B, 1e9):
            raise ServerError("x")
    world.known = False
    slow, fast = (3.0, OK), (0.5, OK)
    await world.run(world.call(A, B, C), {"a": [slow], "b": [fast], "c": [fast]})
    assert world.path == "ac"
    world.path = ""
    await world.run(world.call(A, B), {"a": [slow, fast], "b": [fast]})
    assert world.path == "aa"


async def test_both_that_failed_are_followed_by_others_only() -> None:
    rules = {"server_error": RetryRule(same_target=0, next_target=True)}
    world = World(rules=rules)
    made = world.call(A, B, C)
    scripts = {"a": [(2.0, FAILED)], "b": [(0.5, FAILED)], "c": [(1.0, OK)]}
    assert await world.run(made, scripts) == ("c", pytest.approx(3.0))
    assert world.path == "abc"
    assert [fact.number for fact in made.trace.all(AttemptStarted)] == [2, 1, 3]


async def test_a_hedge_is_one_of_the_most_attempts() -> None:
    world = World(max_attempts=2, rules={"server_error": RetryRule(next_target=True)})
    scripts = {"a": [(2.0, FAILED)], "b": [(0.5, FAILED)], "c": [(1.0, OK)]}
    assert (await world.run(world.call(A, B, C), scripts))[0] == "server_error!"
    assert world.path == "ab"


async def test_hedges_take_from_the_retry_budget_while_they_run() -> None:
    world = World(budget_share=0.0, budget_least=1)
    await world.learn(A, B)
    world.known = False
    world.scripts = {"a": [(5.0, OK)] * 3, "b": [(1.5, OK)] * 3}
    tasks = [asyncio.create_task(world.attempt(world.call(A, B), world.lane)) for _ in range(3)]
    await world.time.run()
    await asyncio.gather(*tasks)
    assert sorted(world.path) == [*"aaab"]


async def test_a_hedge_takes_from_the_limits_of_its_target_and_gives_back() -> None:
    world = World(limits={"p/a": ModelLimits(concurrent=1), "q/b": ModelLimits(concurrent=1)})
    assert (await world.run(world.call(A, B), {"a": [(5.0, OK)], "b": [(1.0, OK)]}))[0] == "b"
    assert world.limiter.slots() == 0
    world.known = False
    world.path = ""
    assert (await world.run(world.call(A), {"a": [(5.0, OK), (1.0, OK)]}))[0] == "a"
    assert world.path == "a", "there is no room for a second one"
    assert world.limiter.slots() == 0


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.5])
async def test_who_leaves_ends_both_attempts(after_s: float) -> None:
    world = World(limits={"p/a": ModelLimits(concurrent=1), "q/b": ModelLimits(concurrent=1)})
    await world.learn(A, B)
    world.scripts = {"a": [(5.0, OK)], "b": [(5.0, OK)]}
    made = world.call(A, B)
    task = asyncio.create_task(world.retry(made, world.lane))

    async def leave() -> None:
        if after_s:
            await world.time.sleep(after_s)
        else:
            await asyncio.sleep(0)
        task.cancel("client_gone")

    leaving = asyncio.create_task(leave())
    await world.time.run()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    await leaving
    assert raised.value.args == ("client_gone",)
    assert {reason for _, reason in world.cancelled} <= {"client_gone"}
    assert len(world.cancelled) == (2 if after_s > 1 else len(world.path))
    assert world.limiter.slots() == 0
    assert world.health.load.in_flight("p/a") == world.health.load.in_flight("q/b") == 0
    begun = 2 if after_s > 1 else 1
    assert len(made.trace.all(AttemptStarted)) == begun


async def test_a_fault_in_a_hedge_is_not_hidden() -> None:
    world = World()
    with pytest.raises(ZeroDivisionError):
        await world.run(world.call(A, B), {"a": [(5.0, OK)], "b": [(0.5, ZeroDivisionError())]})
    assert world.cancelled == [("a", LOST)]


async def test_a_hedge_that_lost_is_no_failure_of_its_target() -> None:
    world = World()
    for _ in range(3):
        await world.run(world.call(A, B), {"a": [(5.0, OK)], "b": [(1.0, OK)]})
    assert world.health.state("p/a") == "closed"


async def test_a_first_attempt_that_lost_counts_as_slow() -> None:
    world = World(hedge_percentile=50.0)
    await world.learn(A, B)
    world.known = False
    after = []
    for _ in range(25):
        made = world.call(A, B)
        await world.run(made, {"a": [(60.0, OK)], "b": [(1.0, OK)]})
        after += [fact.after_s for fact in made.trace.all(Hedged)]
    assert after[0] == pytest.approx(USUAL_S)
    assert after[-1] >= 2 * USUAL_S, "what is slow is usual by now"


# -------------------------------------------------------------------------------- money

DEAR = target("q/b", price=price(1e-4, 1e-4), model={"max_completion_tokens": 1_000})
CHEAP = target("p/a", price=price(1e-6, 1e-6), model={"max_completion_tokens": 1_000})


def paid(world: World, book: Book, limit: int | None) -> Handler:
    budgets = Budgets([] if limit is None else [budget(limit_nano_usd=limit)])
    account = Account(book, Spending(book, budgets, Budgeting(wait_s=0.0)), Pace())
    usage = Usage(prompt_tokens=10, completion_tokens=10)

    async def lane(asked: Call) -> Reply:
        reply = await world.lane(asked)
        assert isinstance(reply, Completion)
        return Completion(data=reply.data, usage=usage)

    return chain([account], lane)


async def test_each_attempt_has_a_charge_and_the_loser_is_settled_as_cancelled() -> None:
    world, book = World(), Book()
    made = world.call(CHEAP, DEAR)
    served, _ = await world.run(made, {"a": [(5.0, OK)], "b": [(1.0, OK)]}, paid(world, book, None))
    assert served == "b"
    intents = [(intent.charge_id, intent.model) for intent in book.intents]
    assert intents == [(f"{made.id}.1", "a"), (f"{made.id}.2", "b")]
    ended = {fact.number: fact for fact in made.trace.all(AttemptEnded)}
    assert ended[1].error == LOST
    assert ended[1].usage is not None
    assert ended[1].usage.source == "estimated"
    assert (ended[2].error, ended[2].cost_nano_usd) == (None, 2_000_000)
    assert {s.charge_id: s.error for s in book.settlements} == {
        f"{made.id}.1": LOST,
        f"{made.id}.2": None,
    }
    assert trace_headers(made.id, made.trace)["x-sluice-attempts"] == "2"
    assert "x-sluice-cost-usd" in trace_headers(made.id, made.trace)


async def test_a_hedge_without_money_for_it_is_silently_none() -> None:
    world, book = World(), Book()
    made = world.call(CHEAP, DEAR)
    served, after_s = await world.run(
        made, {"a": [(5.0, OK)], "b": [(1.0, OK)]}, paid(world, book, 3_000_000)
    )
    assert (served, after_s) == ("a", pytest.approx(5.0))
    assert [intent.model for intent in book.intents] == ["a"]
    assert made.trace.all(Hedged) == []
    assert [fact.number for fact in made.trace.all(AttemptStarted)] == [1]
    assert "x-sluice-cost-usd" in trace_headers(made.id, made.trace)


async def test_an_attempt_after_a_hedge_without_money_has_a_number_of_its_own() -> None:
    world, book = World(rules={"server_error": RetryRule(same_target=1)}), Book()
    made = world.call(CHEAP, DEAR)
    scripts = {"a": [(5.0, FAILED), (0.5, OK)], "b": [(1.0, OK)]}
    assert (await world.run(made, scripts, paid(world, book, 3_000_000)))[0] == "a"
    assert [intent.charge_id for intent in book.intents] == [f"{made.id}.1", f"{made.id}.3"]
    assert attempts(made.trace).made == 2


def test_the_failures_of_the_table_are_failures_of_providers() -> None:
    assert isinstance(FAILED, UpstreamFailure)
    assert isinstance(FINAL, UpstreamFailure)
