"""Where does Retry go when health, credentials, fallbacks and the budget have a say?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.config import DEFAULT_RULES
from gateway.config import Health as HealthSettings
from gateway.config import Retry as Settings
from gateway.errors import (
    ContentFiltered,
    DeadlineExceeded,
    ProviderAuthentication,
    RateLimited,
    ServerError,
    UpstreamFailure,
    error_classes,
)
from gateway.exchange import Call, Reply, Stream
from gateway.health import Attempt, Health
from gateway.targets import Credential, Target
from gateway.trace import AttemptStarted
from policies.retry import Retry
from tests.builders import Answers, call, completion, stream, target, text_event
from tests.fakes.clock import Clock

A, B, C = target("p/a"), target("q/b"), target("r/c")
SECOND = replace(A, credential=Credential("second"))
FAILURES = [kind for kind in error_classes(UpstreamFailure) if kind is not UpstreamFailure]


class World:
    """Retry over one health, on a virtual clock."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.health = Health(HealthSettings(consecutive_failures=2), clock=self.clock)
        self.retry = Retry(
            Settings(**settings),  # type: ignore[arg-type]
            self.health,
            clock=self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: 1.0,
        )

    def bench(self, *targets: Target) -> None:
        for at in targets:
            self.clock.now += 0.001
            for _ in range(2):
                with pytest.raises(ServerError), Attempt(self.health, at, 1e9):
                    raise ServerError("x")

    async def path(self, candidates: tuple[Target, ...], *answers: Reply | BaseException) -> str:
        """The targets that were attempted, by letter; a `!` after them where the call failed."""
        made = call(candidates=candidates).with_(deadline=self.clock.now + 1000)
        handler, end = Answers(*answers), ""
        try:
            await self.retry(made, handler)
        except UpstreamFailure:
            end = "!"
        letters = [f"{a.chosen.model.name}{_credential(a)}" for a in handler.calls]
        return "".join(letters) + end


def _credential(attempt: Call) -> str:
    return "" if attempt.chosen.credential.name == "default" else "2"


def borrowed(at: Target, *kinds: str) -> Target:
    return replace(at, fallback="other", fallback_on=frozenset(kinds))


# --------------------------------------- every class, streamed or not, with a fallback or without

SAME = ("connection", "timeout", "overloaded", "server_error", "response_parsing", "tool_call")


def expected(kind: str, fallback: bool) -> str:
    """What a failure that does not go away leads to: two failures in a row bench a target."""
    rule = DEFAULT_RULES[kind]
    if not fallback or not rule.next_target:
        return "a" * (1 + rule.same_target) + "!"
    if kind == "rate_limit":
        return "abbb!"
    if kind == "tool_call":  # benches nobody
        return "aaabbb!"
    return "aabbb!" if kind in SAME else "ab!"


@pytest.mark.parametrize("fallback", [False, True], ids=["alone", "fallback"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.kind)
async def test_each_class_leads_where_its_rule_says(
    failure: type[UpstreamFailure], streamed: bool, fallback: bool
) -> None:
    world = World()
    candidates = (A, borrowed(B)) if fallback else (A,)
    made = call(candidates=candidates, stream=streamed).with_(deadline=world.clock.now + 1000)
    handler = Answers(failure("x"))
    with pytest.raises(failure):
        await world.retry(made, handler)
    assert "".join(a.chosen.model.name for a in handler.calls) + "!" == expected(
        failure.kind, fallback
    )
    assert {a.stream for a in handler.calls} == {streamed}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.kind)
async def test_no_class_leads_anywhere_once_a_stream_has_begun(
    failure: type[UpstreamFailure],
) -> None:
    world = World()
    made = call(candidates=(A, borrowed(B)), stream=True).with_(deadline=world.clock.now + 1000)
    handler = Answers(stream([text_event("a")], failure("x")))
    reply = await world.retry(made, handler)
    assert isinstance(reply, Stream)
    with pytest.raises(failure):
        _ = [events async for events in reply]
    assert len(handler.calls) == 1
    assert world.health.load.in_flight(A.name) == 0


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.kind)
async def test_a_fallback_for_one_kind_is_entered_after_that_kind_only(
    failure: type[UpstreamFailure],
) -> None:
    path = await World(max_attempts=4).path((A, borrowed(B, "content_filter")), failure("x"))
    if failure is ContentFiltered:
        assert path == "ab!"
    else:
        assert set(path) == {"a", "!"}


async def test_a_fallback_for_one_kind_is_no_first_choice_although_the_others_are_benched() -> None:
    world = World()
    world.bench(A)
    assert await world.path((A, borrowed(B, "timeout")), completion()) == "a"


async def test_a_fallback_for_one_kind_remains_for_a_later_failure() -> None:
    answers = (ServerError("x"), ContentFiltered("y"), completion())
    assert await World().path((A, borrowed(B, "content_filter")), *answers) == "aab"


# ----------------------------------------------------------------------------------- health


async def test_a_target_that_was_benched_since_is_passed_over() -> None:
    world = World()
    world.bench(A)
    assert await world.path((A, B), completion()) == "b"


async def test_a_benched_target_is_not_repeated_if_a_healthy_one_is_left() -> None:
    answers = (ServerError("x"), ServerError("x"), completion())
    assert await World().path((A, B), *answers) == "aab"


async def test_when_all_are_benched_the_call_is_tried_all_the_same() -> None:
    world = World()
    world.bench(A, B)
    assert await world.path((A, B), completion()) == "a"
    assert world.health.usable(A), "the success ended its bench"


async def test_one_target_alone_is_repeated_although_it_is_benched() -> None:
    assert await World().path((A,), ServerError("x")) == "aaa!"


async def test_only_one_call_probes() -> None:
    world = World()
    world.bench(A)
    world.clock.now += 5
    gate, seen = Gate(5), []

    async def slow(asked: Call) -> Reply:
        seen.append(asked.chosen.model.name)
        await gate.wait()
        return completion()

    calls = [
        call(candidates=(A, B)).with_(deadline=world.clock.now + 1000, id=str(n)) for n in range(5)
    ]
    running = [asyncio.create_task(world.retry(made, slow)) for made in calls]
    await asyncio.gather(*running)
    assert sorted(seen) == ["a", "b", "b", "b", "b"]
    assert world.health.usable(A)


# ------------------------------------------------------------------------------ credentials


@pytest.mark.parametrize("failure", [RateLimited, ProviderAuthentication])
async def test_an_accounts_failure_leads_to_the_next_credential(
    failure: type[UpstreamFailure],
) -> None:
    assert await World().path((A, SECOND, B), failure("x"), completion()) == "aa2"


async def test_a_targets_failure_does_not() -> None:
    world = World(max_attempts=3)
    answers = (ServerError("x"), ServerError("x"), completion())
    assert await world.path((A, SECOND, B), *answers) == "aab"


# ------------------------------------------------------------------------- the retry budget


async def test_without_budget_a_healthy_target_is_still_moved_to() -> None:
    world = World(budget_share=0.0, budget_least=0)
    assert await world.path((A, B), ServerError("x"), completion()) == "ab"
    assert await world.path((C,), ServerError("x"), completion()) == "c!"


async def test_without_budget_a_benched_target_is_not_moved_to() -> None:
    world = World(budget_share=0.0, budget_least=0)
    world.bench(B)
    assert await world.path((A, B), ServerError("x"), completion()) == "a!"


async def test_calls_in_flight_share_the_budget() -> None:
    world, gate, most = World(), Gate(50), 0

    async def failing(asked: Call) -> Reply:
        nonlocal most
        if asked.attempt == 1:
            await gate.wait()
        most = max(most, world.retry._budget.further)
        raise ServerError("x")

    made = call(candidates=(A,)).with_(deadline=world.clock.now + 1000)
    world.retry._sleep = _yielding
    running = [asyncio.create_task(world.retry(made, failing)) for _ in range(50)]
    await asyncio.gather(*running, return_exceptions=True)
    assert most == 10
    assert (world.retry._budget.calls, world.retry._budget.further) == (0, 0)


class Gate:
    """Holds everybody until so many wait."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self.open = asyncio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self.open.set()
        await self.open.wait()


async def _yielding(seconds: float) -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# --------------------------------------------------------------------------------- deadline


@pytest.mark.parametrize(("left_s", "begins"), [(0.5, True), (0.3, False)])
async def test_no_attempt_begins_that_has_too_little_time(left_s: float, begins: bool) -> None:
    world = World(min_attempt_s=0.4)
    made = call(candidates=(A,)).with_(deadline=world.clock.now + left_s)
    handler = Answers(completion())
    if begins:
        await world.retry(made, handler)
    else:
        with pytest.raises(DeadlineExceeded):
            await world.retry(made, handler)
    assert len(handler.calls) == begins


# ---------------------------------------------------------------------------------- dry run


async def test_a_dry_run_names_the_first_attempt_and_changes_nothing() -> None:
    world = World()
    world.bench(A)
    world.clock.now += 5
    made = call(candidates=(A, B), dry_run=True).with_(deadline=world.clock.now + 1000)
    answers = Answers(completion())
    for _ in range(3):
        await world.retry(made, answers)
    assert [f.target.name for f in made.trace.all(AttemptStarted)] == ["p/a"] * 3
    assert world.health.state(A.name) == "probing"
    assert world.health.load.in_flight(A.name) == 0


async def test_a_dry_run_follows_no_failure_and_takes_nothing_of_the_retry_budget() -> None:
    world = World(budget_least=1)
    made = call(candidates=(A, B), dry_run=True).with_(deadline=world.clock.now + 1000)
    for _ in range(3):
        with pytest.raises(ServerError):
            await world.retry(made, Answers(ServerError("x")))
    assert world.health.state(A.name) == "closed"
    assert await world.path((A,), ServerError("x"), completion()) == "aa"
