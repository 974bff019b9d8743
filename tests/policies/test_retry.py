"""Which attempts follow a failure, at which targets, after which pauses?"""

from __future__ import annotations

import asyncio
import math

import pytest

from gateway.config import DEFAULT_RULES, RetryRule
from gateway.config import Health as HealthSettings
from gateway.config import Retry as Settings
from gateway.errors import (
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    InvalidPrompt,
    Overloaded,
    ProviderAuthentication,
    QuotaExceeded,
    RateLimited,
    Refusal,
    ServerError,
    SluiceError,
    Unavailable,
    UpstreamFailure,
    UpstreamModelNotFound,
    error_classes,
)
from gateway.exchange import Call, Completion, Reply, Stream
from gateway.health import Health
from gateway.targets import Target
from gateway.trace import AttemptStarted, Paused
from policies.retry import Retry
from tests.builders import Answers, call, completion, stream, target, text_event
from tests.fakes.clock import Clock

A, B, C = target("p/a"), target("q/b"), target("r/c")
FAILURES = [kind for kind in error_classes(UpstreamFailure) if kind is not UpstreamFailure]


class Run:
    """One call through Retry on a virtual clock. Jitter is full: pauses are at their ceiling."""

    def __init__(
        self,
        *answers: Reply | BaseException,
        targets: tuple[Target, ...] = (A,),
        deadline_s: float = 1000.0,
        takes_s: float = 0.0,
        jitter: float = 1.0,
        health: Health | None = None,
        **settings: float | dict[str, RetryRule],
    ) -> None:
        self.clock = Clock()
        self.handler = Answers(*answers)
        self.call = call(candidates=targets).with_(deadline=self.clock.now + deadline_s)
        self._takes_s = takes_s
        self._policy = Retry(
            Settings(**settings),  # type: ignore[arg-type]
            health or Health(HealthSettings(), clock=self.clock),
            clock=self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: jitter,
        )

    async def reply(self) -> Reply:
        return await self._policy(self.call, self._attempt)

    async def error(self) -> SluiceError:
        with pytest.raises(SluiceError) as raised:
            await self.reply()
        return raised.value

    async def _attempt(self, asked: Call) -> Reply:
        self.clock.now += self._takes_s
        return await self.handler(asked)

    @property
    def path(self) -> str:
        """The targets that were attempted, by their letters."""
        return "".join(attempt.chosen.model.name for attempt in self.handler.calls)

    @property
    def pauses(self) -> list[float]:
        assert [fact.seconds for fact in self.call.trace.all(Paused)] == self.clock.sleeps
        return self.clock.sleeps


# ------------------------------------------------------------------- by the error's class

TRANSIENT = ("aaa", [0.25, 0.5], "aaabbb", [0.25, 0.5, 0.25, 0.5])
ELSEWHERE = ("a", [], "ab", [])
FINAL = ("a", [], "a", [])
TABLE = {
    "connection": TRANSIENT,
    "timeout": TRANSIENT,
    "overloaded": TRANSIENT,
    "server_error": TRANSIENT,
    "response_parsing": TRANSIENT,
    "tool_call": TRANSIENT,
    "rate_limit": ("aaa", [0.25, 0.5], "abbb", [0.25, 0.5]),
    "quota_exceeded": ELSEWHERE,
    "authentication": ELSEWHERE,
    "permission": ELSEWHERE,
    "upstream_model_not_found": ELSEWHERE,
    "invalid_configuration": ELSEWHERE,
    "context_window": ELSEWHERE,
    "invalid_prompt": FINAL,
    "content_filter": FINAL,
}


def test_every_failure_has_a_rule_and_a_row_of_the_table() -> None:
    kinds = {failure.kind for failure in FAILURES}
    assert set(DEFAULT_RULES) == set(TABLE) == kinds


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.kind)
async def test_attempts_and_pauses_follow_the_errors_class(failure: type[UpstreamFailure]) -> None:
    one_path, one_pauses, two_path, two_pauses = TABLE[failure.kind]
    one = Run(failure("x"))
    await one.error()
    assert (one.path, one.pauses) == (one_path, one_pauses)
    two = Run(failure("x"), targets=(A, B))
    await two.error()
    assert (two.path, two.pauses) == (two_path, two_pauses)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.kind)
async def test_a_target_that_recovers_ends_the_attempts(failure: type[UpstreamFailure]) -> None:
    answer = completion()
    run = Run(failure("x"), answer, targets=(A, B))
    if TABLE[failure.kind] is FINAL:
        assert isinstance(await run.error(), failure)
        return
    assert await run.reply() is answer
    assert len(run.path) == 2


@pytest.mark.parametrize("retries", [0, 1, 4])
async def test_there_are_exactly_one_plus_retries_calls(retries: int) -> None:
    rules = {"server_error": RetryRule(same_target=retries)}
    run = Run(ServerError("x"), rules=rules, targets=(A, B))
    await run.error()
    assert run.path == "a" * (1 + retries)


async def test_a_rule_of_the_configuration_replaces_one_row_only() -> None:
    rules = {"invalid_prompt": RetryRule(same_target=1, next_target=True)}
    run = Run(InvalidPrompt("x"), rules=rules, targets=(A, B))
    await run.error()
    assert run.path == "aabb"
    other = Run(ContentFiltered("x"), rules=rules, targets=(A, B))
    await other.error()
    assert other.path == "a"


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_max_attempts_counts_all_targets_together(most: int) -> None:
    run = Run(ServerError("x"), targets=(A, B), max_attempts=most)
    await run.error()
    assert run.path == "aaabbb"[:most]


async def test_the_last_error_is_the_one_that_is_raised() -> None:
    last = QuotaExceeded("empty")
    run = Run(ServerError("x"), ServerError("y"), ServerError("z"), last, targets=(A, B))
    assert await run.error() is last
    assert run.path == "aaab"


async def test_each_error_is_judged_by_its_own_rule() -> None:
    run = Run(ServerError("x"), InvalidPrompt("y"), targets=(A, B))
    assert isinstance(await run.error(), InvalidPrompt)
    assert run.path == "aa"


async def test_every_attempt_has_its_number_and_its_target_in_the_trace() -> None:
    run = Run(ServerError("x"), QuotaExceeded("y"), completion(), targets=(A, B))
    await run.reply()
    assert [attempt.attempt for attempt in run.handler.calls] == [1, 2, 3]
    started = [(fact.number, fact.target.name) for fact in run.call.trace.all(AttemptStarted)]
    assert started == [(1, "p/a"), (2, "p/a"), (3, "q/b")]


# ------------------------------------------------------------------------------- pauses


async def test_pauses_double_up_to_their_maximum() -> None:
    rules = {"server_error": RetryRule(same_target=5)}
    run = Run(ServerError("x"), rules=rules, base_s=1.0, max_s=3.0)
    await run.error()
    assert run.pauses == [1.0, 2.0, 3.0, 3.0, 3.0]


async def test_a_pause_is_a_random_part_of_its_ceiling() -> None:
    run = Run(ServerError("x"), jitter=0.5)
    await run.error()
    assert run.pauses == [0.125, 0.25]


@pytest.mark.parametrize("failure", [RateLimited, Overloaded, ServerError])
async def test_a_provider_that_says_when_to_come_back_is_obeyed(
    failure: type[UpstreamFailure],
) -> None:
    run = Run(failure("x", retry_after_s=7.5), completion(), jitter=0.0)
    await run.reply()
    assert run.pauses == [7.5]


@pytest.mark.parametrize(
    ("retry_after_s", "deadline_s", "path"),
    [
        (30.0, 1000.0, "aa"),  # the configured most
        (30.1, 1000.0, "a"),
        (math.inf, 1000.0, "a"),
        (4.8, 5.0, "aa"),
        (4.95, 5.0, "a"),  # it would have too little time
        (5.0, 5.0, "a"),  # it would be due at the deadline
    ],
)
async def test_a_pause_that_is_too_long_or_reaches_the_deadline_is_not_made(
    retry_after_s: float, deadline_s: float, path: str
) -> None:
    run = Run(RateLimited("x", retry_after_s=retry_after_s), completion(), deadline_s=deadline_s)
    if path == "aa":
        await run.reply()
    else:
        assert (await run.error()).retry_after_s == retry_after_s
    assert run.path == path


@pytest.mark.parametrize("failure", [RateLimited, Overloaded])
@pytest.mark.parametrize("retry_after_s", [60.0, 2.0])
async def test_a_provider_that_wants_to_be_left_alone_for_too_long_gives_way_to_the_next(
    failure: type[UpstreamFailure], retry_after_s: float
) -> None:
    answer = completion()
    run = Run(
        failure("x", retry_after_s=retry_after_s), answer, targets=(A, B), max_retry_after_s=1.0
    )
    assert await run.reply() is answer
    assert (run.path, run.pauses) == ("ab", [])


async def test_a_rate_limit_moves_to_the_next_target_at_once() -> None:
    run = Run(RateLimited("x", retry_after_s=9.0), completion(), targets=(A, B))
    await run.reply()
    assert (run.path, run.pauses) == ("ab", [])


async def test_the_last_target_that_is_rate_limited_is_waited_for() -> None:
    failures = [RateLimited("x", retry_after_s=9.0), RateLimited("y", retry_after_s=3.0)]
    run = Run(*failures, completion(), targets=(A, B))
    await run.reply()
    assert (run.path, run.pauses) == ("abb", [3.0])


# ------------------------------------------------------------------------------ deadline


@pytest.mark.parametrize("late_s", [0.0, 5.0])
async def test_a_call_that_is_already_late_is_not_begun(late_s: float) -> None:
    run = Run(completion(), deadline_s=-late_s)
    error = await run.error()
    assert isinstance(error, DeadlineExceeded)
    assert error.status == 504
    assert run.path == ""
    assert run.call.trace.facts == []


async def test_no_attempt_begins_after_the_deadline() -> None:
    run = Run(QuotaExceeded("x"), targets=(A, B, C), takes_s=2.0, deadline_s=3.0)
    await run.error()
    assert run.path == "ab"


# --------------------------------------------------------------------------- other errors


@pytest.mark.parametrize("failure", [ConnectionFailed, QuotaExceeded])
async def test_after_attempts_in_vain_the_client_is_told_not_to_repeat(
    failure: type[UpstreamFailure],
) -> None:
    run = Run(failure("x"), targets=(A, B))
    error = await run.error()
    assert error.should_retry is False
    assert error.headers()["x-should-retry"] == "false"


async def test_a_failure_that_was_not_repeated_leaves_it_to_the_client() -> None:
    run = Run(ServerError("x"), max_attempts=1)
    error = await run.error()
    assert error.should_retry is None
    assert "x-should-retry" not in error.headers()


@pytest.mark.parametrize(
    "error", [Unavailable("x"), DeadlineExceeded("x"), Refusal("x"), RuntimeError("x")]
)
async def test_what_is_not_the_providers_failure_is_never_repeated(error: Exception) -> None:
    run = Run(error, targets=(A, B))
    with pytest.raises(type(error)):
        await run.reply()
    assert run.path == "a"


async def test_a_cancelled_call_makes_no_further_attempt() -> None:
    run = Run(asyncio.CancelledError("client_gone"), targets=(A, B))
    with pytest.raises(asyncio.CancelledError):
        await run.reply()
    assert run.path == "a"


async def test_nothing_is_repeated_once_a_stream_was_returned() -> None:
    run = Run(stream([text_event("a")], ServerError("x")), targets=(A, B))
    reply = await run.reply()
    assert isinstance(reply, Stream)
    with pytest.raises(ServerError):
        _ = [events async for events in reply]
    assert run.path == "a"


# ------------------------------------------------------------------------ context windows


@pytest.mark.parametrize(
    ("windows", "path"),
    [
        ((8, 8), "a"),
        ((8, 4), "a"),
        ((8, 16), "ab"),
        ((8, None), "ab"),
        ((None, 8), "ab"),
        ((8, 4, 16), "ac"),
        ((8, 16, 16), "ab"),
        ((8, 16, 32), "abc"),
    ],
)
async def test_an_overlong_prompt_goes_only_where_the_window_is_larger(
    windows: tuple[int | None, ...], path: str
) -> None:
    targets = tuple(
        target(f"p/{name}", model={"context_window": window})
        for name, window in zip("abc", windows, strict=False)
    )
    run = Run(ContextWindowExceeded("x"), targets=targets)
    await run.error()
    assert run.path == path


async def test_a_target_that_is_too_small_stays_out_after_another_failure() -> None:
    targets = tuple(
        target(f"p/{name}", model={"context_window": window})
        for name, window in (("a", 8), ("b", 16), ("c", 8))
    )
    failures = [ContextWindowExceeded("x"), ProviderAuthentication("y")]
    run = Run(*failures, targets=targets)
    await run.error()
    assert run.path == "ab"


async def test_a_first_answer_is_returned_as_it_is() -> None:
    answer = completion()
    run = Run(answer, UpstreamModelNotFound("never"))
    assert await run.reply() is answer
    assert isinstance(answer, Completion)
    assert run.pauses == []
