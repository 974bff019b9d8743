"""Which endings bench a target, which a credential, and which nobody?"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from gateway.config import Health as Settings
from gateway.errors import (
    ClientGone,
    DeadlineExceeded,
    ProviderAuthentication,
    ProviderPermission,
    Refusal,
    ServerError,
    SluiceError,
    Unavailable,
    UpstreamFailure,
    UpstreamTimeout,
    error_classes,
)
from gateway.exchange import Stream
from gateway.health import BENCHED, SICK, Attempt, Health
from gateway.targets import Credential, Target
from tests.builders import completion, stream, target, text_event
from tests.fakes.clock import Clock

FAILURES = [kind for kind in error_classes(UpstreamFailure) if kind is not UpstreamFailure]
A, B = target("p/a"), target("p/b")
OTHER_KEY = replace(A, credential=Credential("second"))
SETTINGS = Settings(consecutive_failures=2, bench_s=5.0, credential_bench_s=60.0)
LATE = math.inf


class World:
    """Health on a virtual clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.health = Health(SETTINGS, clock=self.clock)

    def fails(self, error: BaseException, at: Target = A, deadline: float = LATE) -> None:
        with pytest.raises(type(error)), Attempt(self.health, at, deadline):
            raise error

    def answers(self, at: Target = A) -> None:
        with Attempt(self.health, at, LATE) as attempt:
            attempt.answered(completion())

    def streams(self, *batches: list[object] | SluiceError, at: Target = A) -> Stream:
        with Attempt(self.health, at, LATE) as attempt:
            reply = attempt.answered(stream(*batches))  # type: ignore[arg-type]
        assert isinstance(reply, Stream)
        return reply


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.kind)
def test_a_failure_counts_where_it_belongs(world: World, failure: type[UpstreamFailure]) -> None:
    for _ in range(2):
        world.fails(failure("x"))
    usable = {t: world.health.usable(at) for t, at in (("a", A), ("b", B), ("key", OTHER_KEY))}
    if failure.kind in SICK:
        expected = {"a": False, "b": True, "key": False}
    elif failure.kind == "permission":
        expected = {"a": False, "b": True, "key": True}
    elif failure.kind in BENCHED:
        expected = {"a": False, "b": False, "key": True}
    else:
        expected = {"a": True, "b": True, "key": True}
    assert usable == expected


def test_what_counts_is_said_for_every_class() -> None:
    nobody = {
        "rate_limit",
        "tool_call",
        "upstream_model_not_found",
        "invalid_configuration",
        "context_window",
        "invalid_prompt",
        "content_filter",
    }
    assert {f.kind for f in FAILURES} == SICK | BENCHED | nobody


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError("client_gone"),
        ClientGone("x"),
        DeadlineExceeded("x"),
        Unavailable("x"),
        Refusal("x"),
        RuntimeError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_the_providers_failure_counts_against_nobody(
    world: World, error: BaseException
) -> None:
    for _ in range(50):
        world.fails(error)
    assert world.health.usable(A)
    assert world.health.load.in_flight(A.name) == 0


def test_a_timeout_at_the_callers_own_deadline_counts_against_nobody(world: World) -> None:
    for _ in range(50):
        world.fails(UpstreamTimeout("x"), deadline=world.clock.now)
    assert world.health.usable(A)
    for _ in range(2):
        world.fails(UpstreamTimeout("x"), deadline=world.clock.now + 10)
    assert not world.health.usable(A)


@pytest.mark.parametrize("failure", [f for f in FAILURES if f.kind in BENCHED])
def test_a_credential_is_benched_at_once_and_another_serves(
    world: World, failure: type[UpstreamFailure]
) -> None:
    world.fails(failure("x"))
    assert not world.health.usable(A)
    assert world.health.usable(OTHER_KEY)
    assert world.health.state(A.name) == "closed", "the target itself is well"
    world.clock.now += 60
    assert world.health.usable(A)


def test_a_target_recovers_by_one_probe(world: World) -> None:
    for _ in range(2):
        world.fails(ServerError("x"))
    assert world.health.state(A.name) == "benched"
    world.clock.now += 5
    assert world.health.state(A.name) == "probing"
    with Attempt(world.health, A, LATE) as probe:
        assert not world.health.usable(A)
        probe.answered(completion())
    assert world.health.state(A.name) == "closed"
    assert world.health.usable(A)


def test_a_cancelled_probe_makes_room_for_the_next(world: World) -> None:
    for _ in range(2):
        world.fails(ServerError("x"))
    world.clock.now += 5
    world.fails(asyncio.CancelledError())
    assert world.health.usable(A)
    assert world.health.state(A.name) == "probing"


async def test_a_streams_first_event_ends_a_probe(world: World) -> None:
    for _ in range(2):
        world.fails(ServerError("x"))
    world.clock.now += 5
    reply = world.streams([text_event("a")])
    assert world.health.usable(A)
    assert world.health.load.in_flight(A.name) == 1
    await reply.aclose()
    assert world.health.load.in_flight(A.name) == 0


async def test_streams_that_break_bench_their_target(world: World) -> None:
    for _ in range(2):
        reply = world.streams([text_event("a")], ServerError("x"))
        with pytest.raises(ServerError):
            _ = [events async for events in reply]
    assert not world.health.usable(A)
    assert world.health.load.in_flight(A.name) == 0


async def test_streams_that_are_left_or_refused_midway_bench_nobody(world: World) -> None:
    for _ in range(10):
        await world.streams([text_event("a")]).aclose()
        await world.streams([text_event("a")]).aclose(DeadlineExceeded("x"))
    assert world.health.usable(A)


def test_a_success_between_failures_counts(world: World) -> None:
    for _ in range(5):
        world.fails(ServerError("x"))
        world.answers()
    assert world.health.usable(A)


async def test_a_stream_that_ends_well_counts_as_a_success(world: World) -> None:
    for _ in range(5):
        world.fails(ServerError("x"))
        assert world.health.usable(A)
        _ = [events async for events in world.streams([text_event("a")])]


def test_a_target_is_benched_since_the_later_of_its_benches(world: World) -> None:
    world.fails(ServerError("x"))
    assert world.health.benched_at(A) == math.inf, "one failure benches nobody"
    world.clock.now += 1
    world.fails(ProviderAuthentication("x"))
    assert world.health.benched_at(A) == world.clock.now
    world.clock.now += 1
    world.fails(ServerError("x"))
    assert world.health.benched_at(A) == world.clock.now


def test_the_first_that_was_benched_is_known(world: World) -> None:
    assert world.health.benched_at(A) == math.inf
    for at in (B, A):
        world.clock.now += 1
        for _ in range(2):
            world.fails(ServerError("x"), at)
    assert world.health.benched_at(B) < world.health.benched_at(A)


def test_names_that_callers_make_up_do_not_fill_the_memory(world: World) -> None:
    for number in range(5000):
        world.fails(ServerError("x"), target(f"p/{number}"))
    assert len(world.health._targets.known) <= 4096


def test_an_operator_sees_what_failed_and_for_how_long(world: World) -> None:
    seen = world.health.view(A.name)
    assert (seen.state, seen.benched_for_s, seen.attempts, seen.failures) == ("closed", None, 0, 0)
    world.fails(ServerError("x"))
    world.answers()
    seen = world.health.view(A.name)
    assert (seen.state, seen.attempts, seen.failures) == ("closed", 2, 1)
    for _ in range(2):
        world.fails(ServerError("x"))
    world.clock.now += 1.0
    seen = world.health.view(A.name)
    assert (seen.state, seen.benched_for_s) == ("benched", 4.0)
    assert world.health.names() == [A.name]
    world.clock.now += SETTINGS.window_s
    seen = world.health.view(A.name)
    assert (seen.state, seen.benched_for_s, seen.attempts) == ("probing", None, 0)


def test_an_operator_sees_which_credentials_were_refused(world: World) -> None:
    world.fails(ProviderAuthentication("x"), OTHER_KEY)
    world.fails(ProviderPermission("x"), B)
    found = [(r.provider, r.credential, r.model, r.seen.state) for r in world.health.refusals()]
    assert found == [("p", "second", None, "benched"), ("p", "default", "b", "benched")]


def test_a_reset_forgets_a_targets_failures_and_no_others(world: World) -> None:
    for at in (A, B):
        for _ in range(2):
            world.fails(ServerError("x"), at)
        world.fails(ProviderPermission("x"), at)
    world.fails(ProviderAuthentication("x"), OTHER_KEY)
    world.health.reset(A.name)
    assert world.health.usable(A)
    assert world.health.usable(OTHER_KEY)
    assert not world.health.usable(B)
    assert [r.model for r in world.health.refusals()] == ["b"]
    for _ in range(2):
        world.fails(ServerError("x"))
    assert world.health.view(A.name).benched_for_s == SETTINGS.bench_s  # as if it were the first


def test_an_attempt_from_before_a_reset_counts_as_a_new_failure(world: World) -> None:
    for _ in range(2):
        world.fails(ServerError("x"))
    world.clock.now += SETTINGS.bench_s
    attempt = Attempt(world.health, A, LATE)
    attempt.__enter__()
    world.health.reset(A.name)
    attempt.__exit__(ServerError, ServerError("x"), None)
    assert (world.health.view(A.name).state, world.health.view(A.name).failures) == ("closed", 1)


def test_the_state_of_a_credential_is_known_by_its_name(world: World) -> None:
    def state(credential: str = "second") -> str:
        return world.health.credential_state("p", credential)

    assert state() == "closed"
    world.fails(ProviderPermission("x"), OTHER_KEY)  # for this model only
    assert state() == "closed"
    world.fails(ProviderAuthentication("x"), OTHER_KEY)
    assert (state(), state("default")) == ("benched", "closed")
    world.clock.now += 60
    assert state() == "probing"
