"""Which limits hold for a call, and is all given back whatever its ending?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import ModelLimits, RateLimits
from gateway.directory import Resolution
from gateway.errors import ModelNotAllowed, RateLimitExceeded, ServerError
from gateway.exchange import Call, Reply
from gateway.keys import VirtualKey
from gateway.limits.demand import Answer, Demand, Limit, Limited
from gateway.limits.memory import MemoryLimiter
from gateway.record import trace_headers
from gateway.tokens import estimate_prompt_tokens
from gateway.trace import AttemptEnded, AttemptSent, Paused
from gateway.usage import Usage
from policies.limits import Limits
from tests.builders import KEY, Answers, call, completion, stream, target, text_event

USAGE = Usage(prompt_tokens=7, completion_tokens=13)


class Directory:
    """Every name but an alias means one model of `fake`."""

    async def resolve(self, name: str, key: VirtualKey) -> Resolution:
        alias = name if name == "smart" else None
        found = target(f"fake/{name.removeprefix('fake/')}")
        return Resolution(alias=alias, grants=(alias or found.name,), targets=(found,))


class Watched(MemoryLimiter):
    """A limiter that remembers what it was asked, on a clock that stands still."""

    def __init__(self) -> None:
        super().__init__(lambda: 1_000_000)
        self.demands: list[Demand] = []

    async def take(self, demand: Demand) -> Answer:
        self.demands.append(demand)
        return await super().take(demand)

    def left(self, limit: Limit) -> int:
        demand = Demand((limit,), (), 0, "")
        done = super().peek(demand)
        with pytest.raises(StopIteration) as ended:
            done.send(None)
        remaining: int = ended.value.value.verdict.levels[0].remaining
        return remaining


def key(team: dict[str, Any] | None = None, **own: Any) -> VirtualKey:
    return replace(KEY, settings=own, team_settings=team or {})


def limits(limiter: Watched, **settings: Any) -> Limits:
    return Limits(RateLimits(**settings), limiter, Directory())  # type: ignore[arg-type]


async def applied(settings: dict[str, Any], made: Call) -> set[tuple[str, str, int]]:
    limiter = Watched()
    await limits(limiter, **settings)(made, Answers(completion()))
    found = [*limiter.demands[0].rates, *limiter.demands[0].concurrent] if limiter.demands else []
    return {(limit.name, limit.kind, limit.amount) for limit in found}


@pytest.mark.parametrize(
    ("settings", "of", "names"),
    [
        ({}, key(), {}),
        ({"key_rpm": 5}, key(), {"requests:key:k1": 5}),
        ({"key_rpm": 5}, key(rpm=9), {"requests:key:k1": 9}),
        ({"key_rpm": 5}, key(rpm=0), {}),
        ({"key_rpm": 0}, key(), {}),
        ({"key_rpm": 5}, key({"rpm": 9}), {"requests:key:k1": 5, "requests:team:red": 9}),
        ({"team_tpm": 5000}, key(), {"tokens:team:red": 5000}),
        ({"team_tpm": 5000}, replace(key(), team=None), {}),
        ({}, key(tpm=6000, concurrent=2), {"tokens:key:k1": 6000, "concurrent:key:k1": 2}),
        ({"models": {"m": ModelLimits(rpm=4)}}, key(), {"requests:model:m": 4}),
        ({"models": {"fake/m": ModelLimits(rpm=4)}}, key(), {"requests:model:fake/m": 4}),
        ({"models": {"other": ModelLimits(rpm=4)}}, key(), {}),
        ({"models": {"m": ModelLimits(rpm=4)}}, replace(key(), models=("x",)), {}),
    ],
)
async def test_the_limits_that_hold_for_a_call(
    settings: dict[str, Any], of: VirtualKey, names: dict[str, int]
) -> None:
    found = await applied(settings, call(key=of))
    assert {name: amount for name, _, amount in found} == names


async def test_a_changed_key_has_its_new_limits_at_once() -> None:
    limiter = Watched()
    policy = limits(limiter)
    for rpm in (5, 7):
        await policy(call(key=key(rpm=rpm)), Answers(completion()))
    assert [demand.rates[0].amount for demand in limiter.demands] == [5, 7]


async def test_an_alias_counts_for_itself_and_a_model_by_all_its_names() -> None:
    settings = {name: ModelLimits(rpm=3) for name in ("smart", "fake/smart", "m")}
    smart = await applied({"models": settings}, call(body={"model": "smart"}))
    assert {name for name, *_ in smart} == {"requests:model:smart"}
    canonical = await applied({"models": settings}, call(body={"model": "fake/m"}))
    assert {name for name, *_ in canonical} == {"requests:model:m"}


@pytest.mark.parametrize(
    ("body", "completion_tokens"),
    [
        ({}, 1000),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "n": 3}, 21),
        ({"max_tokens": None, "n": None}, 1000),
    ],
)
async def test_tokens_are_estimated_before(body: dict[str, Any], completion_tokens: int) -> None:
    limiter = Watched()
    made = call("hello " * 50, body=body, key=key(tpm=6000))
    await limits(limiter)(made, Answers(completion()))
    assert limiter.demands[0].tokens == estimate_prompt_tokens(made.body) + completion_tokens


def attempts(made: Call, *usages: Usage | None) -> None:
    for number, usage in enumerate(usages, start=1):
        made.trace.add(AttemptEnded(number=number, charge_id="c", at_s=0.0, usage=usage))


TPM = Limit("tokens", "key", "k1", 6000)


@pytest.mark.parametrize(
    ("usages", "used"), [((USAGE,), 20), ((USAGE, None, USAGE), 40), ((None,), 0), ((), 0)]
)
async def test_tokens_are_corrected_to_what_all_attempts_used(
    usages: tuple[Usage | None, ...], used: int
) -> None:
    limiter = Watched()

    async def provider(made: Call) -> Reply:
        attempts(made, *usages)
        return completion()

    await limits(limiter)(call(key=key(tpm=6000)), provider)
    assert limiter.left(TPM) == 6000 - used


HELD = key(tpm=6000, concurrent=1)


@pytest.mark.parametrize("error", [ServerError("x"), ModelNotAllowed("x"), RuntimeError("x")])
async def test_an_error_gives_all_back(error: Exception) -> None:
    limiter = Watched()
    with pytest.raises(type(error)):
        await limits(limiter)(call(key=HELD), Answers(error))
    assert (limiter.slots(), limiter.left(TPM)) == (0, 6000)


async def test_a_cancelled_call_gives_all_back() -> None:
    limiter, asked = Watched(), asyncio.Event()

    async def provider(made: Call) -> Reply:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    calling = asyncio.ensure_future(limits(limiter)(call(key=HELD), provider))
    await asked.wait()
    assert limiter.slots() == 1
    calling.cancel()
    await asyncio.wait([calling])
    assert (limiter.slots(), limiter.left(TPM)) == (0, 6000)


async def test_an_attempt_that_goes_on_for_others_keeps_its_estimate() -> None:
    """Who shared an answer with others, and left first, is not given its tokens for nothing."""
    limiter = Watched()
    made = call(key=HELD, body={"max_tokens": 50})

    async def provider(made: Call) -> Reply:
        attempts(made, USAGE)
        made.trace.add(AttemptSent(1, 0.0))
        made.trace.add(AttemptSent(2, 0.0))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await limits(limiter)(made, provider)
    taken = 20 + estimate_prompt_tokens(made.body) + 50
    assert (limiter.slots(), limiter.left(TPM)) == (0, 6000 - taken)


@pytest.mark.parametrize("how", ["read", "unread", "broken"])
async def test_a_stream_holds_its_slot_until_it_is_closed(how: str) -> None:
    limiter = Watched()
    made = call(key=HELD, stream=True)
    batches = ([text_event("a")], ServerError("x")) if how == "broken" else ([text_event("a")],)
    reply = await limits(limiter)(made, Answers(stream(*batches)))
    assert limiter.slots() == 1
    attempts(made, USAGE)
    if how == "unread":
        await reply.aclose()  # type: ignore[union-attr]
    else:
        with pytest.raises(ServerError) if how == "broken" else pytest.raises(StopAsyncIteration):
            while True:
                await reply.__anext__()  # type: ignore[union-attr]
    assert (limiter.slots(), limiter.left(TPM)) == (0, 6000 - 20)


async def refusal(limiter: Watched, made: Call) -> RateLimitExceeded:
    with pytest.raises(RateLimitExceeded) as refused:
        await limits(limiter)(made, Answers(AssertionError()))
    return refused.value


async def test_a_refusal_says_when_to_come_back() -> None:
    limiter = Watched()
    of = key({"rpm": 100}, rpm=2)
    for _ in range(2):
        await limits(limiter)(call(key=of), Answers(completion()))
    refused = call(key=of)
    error = await refusal(limiter, refused)
    assert (error.status, error.code, error.type) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert error.headers() == {"retry-after": "30", "retry-after-ms": "30000"}
    headers = trace_headers("c", refused.trace)
    assert {name: text for name, text in headers.items() if "ratelimit" in name} == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60.000s",
    }
    described = refused.trace.describe()[-1]
    assert described["refused_by"] == "key requests"
    assert described["left"] == {"key requests": 0, "team requests": 98}


async def test_nobody_knows_when_a_running_call_ends() -> None:
    limiter, of = Watched(), key(concurrent=1)
    await limits(limiter)(call(key=of, stream=True), Answers(stream([text_event("a")])))
    error = await refusal(limiter, call(key=of))
    assert error.headers() == {}


async def test_what_can_never_be_admitted_is_not_to_be_repeated() -> None:
    error = await refusal(Watched(), call(key=key(tpm=900)))
    assert error.headers() == {"x-should-retry": "false"}


async def test_the_headers_tell_of_the_tightest_limit() -> None:
    made = call(key=key({"rpm": 3, "tpm": 60_000}, rpm=50))
    await limits(Watched())(made, Answers(completion()))
    headers = trace_headers("c", made.trace)
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-remaining-requests"] == "2"
    assert headers["x-ratelimit-limit-tokens"] == "60000"


async def test_a_dry_run_takes_nothing_and_adds_the_same_fact() -> None:
    limiter, of = Watched(), key(rpm=1, tpm=6000, concurrent=1)
    dry, real = call(key=of, dry_run=True), call(key=of)
    for _ in range(3):
        await limits(limiter)(dry, Answers(completion()))
    assert limiter.demands == []
    await limits(limiter)(real, Answers(completion()))
    assert dry.trace.last(Limited) == real.trace.last(Limited)
    with pytest.raises(RateLimitExceeded):
        await limits(limiter)(call(key=of, dry_run=True), Answers(completion()))


async def test_a_call_may_wait_for_its_limits_and_that_is_no_overhead() -> None:
    limiter, of = Watched(), key(concurrent=1)
    policy = limits(limiter, max_wait_s=20.0)
    running = await policy(call(key=of, stream=True), Answers(stream([text_event("a")])))
    made = call(key=of)
    waiting = asyncio.ensure_future(policy(made, Answers(completion())))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    await running.aclose()  # type: ignore[union-attr]
    await waiting
    paused = made.trace.last(Paused)
    assert paused is not None
    assert paused.seconds > 0.02


async def test_a_dry_run_of_what_would_wait_goes_on() -> None:
    limiter, of = Watched(), key(concurrent=1)
    policy = limits(limiter, max_wait_s=20.0)
    await policy(call(key=of, stream=True), Answers(stream([text_event("a")])))
    await policy(call(key=of, dry_run=True), Answers(completion()))
