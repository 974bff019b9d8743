"""Is a repetition answered with what was answered, and with nothing else?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import Idempotency as Settings
from gateway.errors import (
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    IdempotencyConflict,
    IdempotencyInProgress,
    InvalidPrompt,
    InvalidRequest,
    ModelNotAllowed,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    RateLimitExceeded,
    ServerError,
    SluiceError,
    Unavailable,
    UpstreamModelNotFound,
)
from gateway.exchange import Call, Completion, Events, Handler, Reply, Stream
from gateway.flight import Flight, Flights
from gateway.idempotency import Claim, NotKept, Replayed
from gateway.trace import Stopped
from gateway.usage import Usage
from policies.idempotency import Idempotency
from tests.builders import KEY, Answers, call, completion, stream, text_event, usage_event
from tests.fakes.answers import FakeAnswers

NOW_S = 1_700_000_000.0


def asked(name: str = "order-1", **more: Any) -> Call:
    return call(headers={"idempotency-key": name}, **more)


def policy(store: FakeAnswers | None = None, **settings: Any) -> Idempotency:
    return Idempotency(Settings(**settings), store or FakeAnswers(), now=lambda: NOW_S)


async def texts(reply: Reply) -> list[str]:
    assert isinstance(reply, Stream)
    events = [event for batch in [batch async for batch in reply] for event in batch]
    return [choice["delta"]["content"] for e in events for choice in e.data["choices"]]


class Gated:
    """A handler that waits until it is opened, and counts who reached and who left it."""

    def __init__(self, answer: Reply | SluiceError) -> None:
        self.opened = asyncio.Event()
        self.reached = asyncio.Event()
        self.calls = 0
        self.left: list[tuple[object, ...]] = []
        self._answer = answer

    async def __call__(self, asked: Call) -> Reply:
        self.calls += 1
        self.reached.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError as error:
            self.left.append(error.args)
            raise
        if isinstance(self._answer, SluiceError):
            raise self._answer
        return self._answer


def start(policy: Idempotency, asked: Call, handler: Handler) -> asyncio.Task[Reply]:
    async def run() -> Reply:
        return await policy(asked, handler)

    return asyncio.create_task(run())


async def test_who_repeats_a_call_of_an_earlier_configuration_joins_it() -> None:
    """A reload makes the policies anew; calls under way go on."""
    store, flights = FakeAnswers(), Flights()
    before = Idempotency(Settings(), store, flights, now=lambda: NOW_S)
    after = Idempotency(Settings(), store, flights, now=lambda: NOW_S)
    answer = Gated(completion())
    first = start(before, asked(), answer)
    await answer.reached.wait()
    second = start(after, asked(), answer)
    await asyncio.sleep(0)
    answer.opened.set()
    assert await first == await second
    assert answer.calls == 1


# ---------------------------------------------------------------------------- replays


async def test_a_call_without_the_header_passes_by() -> None:
    store, handler = FakeAnswers(), Answers(completion("one"), completion("two"))
    plain = policy(store)
    assert await plain(call(), handler) is not await plain(call(), handler)
    assert store.claims == 0


async def test_a_repetition_gets_the_first_answer_byte_by_byte() -> None:
    raw = b'{"id": "x",  "choices": []}'
    handler = Answers(Completion(data={"id": "x", "choices": []}, raw=raw))
    idempotency, again = policy(), asked()
    first = await idempotency(asked(), handler)
    second = await idempotency(again, handler)
    assert isinstance(first, Completion)
    assert isinstance(second, Completion)
    assert first.encode() == second.encode() == raw
    assert second.data == first.data
    assert len(handler.calls) == 1
    assert again.trace.describe() == [{"fact": "replayed"}]


async def test_the_first_answer_is_no_replay() -> None:
    first = asked()
    await policy()(first, Answers(completion()))
    assert first.trace.all(Replayed) == []


async def test_a_streams_repetition_has_the_same_events() -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=2)
    last = usage_event(usage)
    last.data["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    handler = Answers(stream([text_event("a")], [text_event("b"), last]))
    idempotency = policy()
    assert await texts(await idempotency(asked(stream=True), handler)) == ["a", "b"]
    again = await idempotency(asked(stream=True), handler)
    assert isinstance(again, Stream)
    events = [event for batch in [batch async for batch in again] for event in batch]
    assert [event.data for event in events] == [
        text_event("a").data,
        text_event("b").data,
        last.data,
    ]
    assert [event.usage for event in events] == [None, None, usage]
    assert len(handler.calls) == 1


async def test_the_order_of_a_body_does_not_matter() -> None:
    handler, idempotency = Answers(completion()), policy()
    await idempotency(asked(body={"a": 1, "b": {"c": 2, "d": 3}}), handler)
    await idempotency(asked(body={"b": {"d": 3, "c": 2}, "a": 1}), handler)
    assert len(handler.calls) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"content": "another"},
        {"body": {"temperature": 0.5}},
        {"body": {"unknown": None}},
        {"stream": True},
    ],
)
async def test_another_body_under_the_same_key_is_a_conflict(other: dict[str, Any]) -> None:
    handler, idempotency = Answers(completion()), policy()
    await idempotency(asked(), handler)
    with pytest.raises(IdempotencyConflict) as refused:
        await idempotency(asked(**other), handler)
    assert (refused.value.status, refused.value.code) == (409, "idempotency_key_reused")
    assert refused.value.headers()["x-should-retry"] == "false"
    assert len(handler.calls) == 1


async def test_another_virtual_key_is_another_caller() -> None:
    handler, idempotency = Answers(completion("one"), completion("two")), policy()
    await idempotency(asked(), handler)
    await idempotency(asked(key=replace(KEY, id="k2")), handler)
    assert len(handler.calls) == 2


@pytest.mark.parametrize("name", ["", "x" * 256, "a\tb", "a\nb", "é"])
async def test_a_key_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await policy()(asked(name), Answers(completion()))
    assert refused.value.param == "idempotency-key"


async def test_the_longest_key_is_a_key() -> None:
    handler, idempotency = Answers(completion()), policy()
    for _ in range(2):
        await idempotency(asked("~ " * 127 + "x"), handler)
    assert len(handler.calls) == 1


async def test_an_answer_is_kept_as_long_as_configured() -> None:
    store = FakeAnswers()
    await policy(store, keep_s=60.0)(asked(), Answers(completion()))
    assert store.expires_at_ms == int(NOW_S * 1000) + 60_000


async def test_a_claim_outlives_its_deadline_by_a_minute() -> None:
    store = FakeAnswers()
    gate = Gated(completion())
    task = start(policy(store), asked(timeout_s=30.0), gate)
    await gate.reached.wait()
    ((claim, _),) = store.kept.values()
    assert 89_000 < claim.expires_at_ms - NOW_S * 1000 <= 90_000
    gate.opened.set()
    await task


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "error",
    [
        InvalidPrompt("bad", param="messages"),
        InvalidPrompt("bad", status=422),
        ContextWindowExceeded("long"),
        ContentFiltered("no"),
        UpstreamModelNotFound("who", code="its_own"),
    ],
    ids=lambda error: error.kind,
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_providers_final_refusal_is_repeated(error: SluiceError, streamed: bool) -> None:
    error.should_retry = False
    handler, idempotency, again = Answers(error), policy(), asked(stream=streamed)
    with pytest.raises(type(error)):
        await idempotency(asked(stream=streamed), handler)
    with pytest.raises(type(error)) as repeated:
        await idempotency(again, handler)
    assert repeated.value.body() == error.body()
    assert repeated.value.headers() == error.headers()
    assert (repeated.value.status, repeated.value.kind) == (error.status, error.kind)
    assert len(handler.calls) == 1
    assert again.trace.all(Replayed)


@pytest.mark.parametrize(
    "error",
    [
        ModelNotAllowed("ours"),
        InvalidRequest("ours"),
        Unavailable("ours"),
        RateLimited("429"),
        QuotaExceeded("429"),
        Overloaded("503"),
        ServerError("500"),
        TypeError("a fault of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_other_error_is_kept(error: Exception) -> None:
    store, handler = FakeAnswers(), Answers(error, completion("now"))
    idempotency, again = policy(store), asked()
    with pytest.raises(type(error)):
        await idempotency(asked(), handler)
    assert store.kept == {}
    assert isinstance(await idempotency(again, handler), Completion)
    assert again.trace.all(Replayed) == []


async def test_a_stream_that_broke_is_not_kept() -> None:
    store = FakeAnswers()
    handler = Answers(stream([text_event("a")], ServerError("x")), stream([text_event("b")]))
    idempotency = policy(store)
    with pytest.raises(ServerError):
        await texts(await idempotency(asked(stream=True), handler))
    assert store.kept == {}
    assert await texts(await idempotency(asked(stream=True), handler)) == ["b"]


async def test_a_stream_that_was_left_is_not_kept() -> None:
    store, handler = FakeAnswers(), Answers(stream([text_event("a")], [text_event("b")]))

    async def endless() -> AsyncIterator[Events]:
        yield [text_event("a")]
        await asyncio.Event().wait()

    async def nothing() -> None: ...

    handler = Answers(Stream(endless(), nothing))
    reply = await policy(store)(asked(stream=True), handler)
    assert isinstance(reply, Stream)
    await reply.__anext__()
    await reply.aclose()
    assert store.kept == {}


async def test_a_stream_that_a_budget_stopped_is_not_kept() -> None:
    store, first = FakeAnswers(), asked(stream=True)
    handler = Answers(stream([text_event("a")]), stream([text_event("b")]))
    idempotency = policy(store)
    reply = await idempotency(first, handler)
    first.trace.add(Stopped("team:red/day", 5))
    assert await texts(reply) == ["a"]
    assert store.kept == {}
    assert await texts(await idempotency(asked(stream=True), handler)) == ["b"]


# --------------------------------------------------------------------------- the cap


async def test_a_large_answer_is_not_kept_and_says_so() -> None:
    store, first = FakeAnswers(), asked()
    handler = Answers(completion("x" * 100))
    idempotency = policy(store, max_answer_bytes=100)
    await idempotency(first, handler)
    assert store.kept == {}
    (fact,) = first.trace.all(NotKept)
    assert fact.size_bytes > 100
    await idempotency(asked(), handler)
    assert len(handler.calls) == 2


async def test_a_large_stream_arrives_whole_and_is_not_kept() -> None:
    store, first = FakeAnswers(), asked(stream=True)
    parts = [f"{number:050}" for number in range(20)]
    handler = Answers(stream(*([text_event(part)] for part in parts)))
    assert await texts(await policy(store, max_answer_bytes=1000)(first, handler)) == parts
    assert store.kept == {}
    assert first.trace.all(NotKept)


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_of_just_the_size_is_kept(streamed: bool) -> None:
    answer: Reply = stream([text_event("a")], [text_event("b")]) if streamed else completion()
    store = FakeAnswers()
    handler = Answers(answer)
    reply = await policy(store, max_answer_bytes=10_000)(asked(stream=streamed), handler)
    if streamed:
        await texts(reply)
    ((_, kept),) = store.kept.values()
    assert kept is not None
    size = len(kept.body)
    again: Reply = stream([text_event("a")], [text_event("b")]) if streamed else completion()
    for limit, expected in ((size + 1, 1), (size - 2, 0)):
        other = FakeAnswers()
        handler = Answers(again)
        reply = await policy(other, max_answer_bytes=limit)(asked(stream=streamed), handler)
        if streamed:
            await texts(reply)
        assert len(other.kept) == expected
        again = stream([text_event("a")], [text_event("b")]) if streamed else completion()


# ------------------------------------------------------------------------- in flight


async def test_repetitions_join_the_running_call() -> None:
    idempotency, gate = policy(), Gated(completion("once"))
    calls = [asked() for _ in range(20)]
    tasks = [start(idempotency, each, gate) for each in calls]
    await gate.reached.wait()
    gate.opened.set()
    replies = await asyncio.gather(*tasks)
    assert gate.calls == 1
    assert {reply.encode() for reply in replies if isinstance(reply, Completion)} == {
        completion("once").encode()
    }
    assert [len(each.trace.all(Replayed)) for each in calls] == [0] + [1] * 19


async def test_repetitions_join_the_running_stream() -> None:
    gate = Gated(stream([text_event("a")], [text_event("b")]))
    idempotency = policy()
    tasks = [start(idempotency, asked(stream=True), gate) for _ in range(5)]
    await gate.reached.wait()
    gate.opened.set()
    replies = await asyncio.gather(*tasks)
    assert await asyncio.gather(*map(texts, replies)) == [["a", "b"]] * 5
    assert gate.calls == 1


async def test_the_first_callers_departure_ends_nobody_elses_call() -> None:
    store, gate = FakeAnswers(), Gated(completion())
    idempotency = policy(store)
    first = start(idempotency, asked(), gate)
    await gate.reached.wait()
    second = start(idempotency, asked(), gate)
    await asyncio.sleep(0)
    first.cancel("client_gone")
    await asyncio.wait([first])
    gate.opened.set()
    assert isinstance(await second, Completion)
    assert (gate.calls, gate.left) == (1, [])
    assert len(store.kept) == 1


async def test_the_last_ones_departure_ends_the_call_and_frees_its_key() -> None:
    store, gate = FakeAnswers(), Gated(completion())
    idempotency = policy(store)
    task = start(idempotency, asked(), gate)
    await gate.reached.wait()
    task.cancel("draining")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.left == [("draining",)]
    assert store.kept == {}


async def test_the_firsts_refusal_is_its_own() -> None:
    idempotency, gate = policy(), Gated(DeadlineExceeded("its own, short deadline"))
    first = start(idempotency, asked(), gate)
    await gate.reached.wait()

    async def answers_now(_: Call) -> Reply:
        return completion("for me")

    second = start(idempotency, asked(), answers_now)
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(DeadlineExceeded):
        await first
    reply = await second
    assert isinstance(reply, Completion)
    assert reply.data == completion("for me").data


async def test_a_crowd_is_refused_without_waking_all_of_it_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boarded = 0

    def join(flight: Flight) -> None:
        nonlocal boarded
        boarded += 1
        join_as_ever(flight)

    join_as_ever = Flight.join
    monkeypatch.setattr(Flight, "join", join)
    idempotency, gate = policy(), Gated(RateLimitExceeded("too many"))
    tasks = [start(idempotency, asked(), gate) for _ in range(40)]
    await gate.reached.wait()
    gate.opened.set()
    refused = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in refused} <= {RateLimitExceeded, IdempotencyInProgress}
    assert boarded <= 40 * 9


async def test_a_providers_refusal_is_everybodys() -> None:
    idempotency, gate = policy(), Gated(RateLimited("slow down", retry_after_s=3))
    tasks = [start(idempotency, asked(), gate) for _ in range(3)]
    await gate.reached.wait()
    gate.opened.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RateLimited] * 3
    assert gate.calls == 1


async def test_a_repetition_waits_no_longer_than_its_own_deadline() -> None:
    idempotency, gate = policy(), Gated(completion())
    first = start(idempotency, asked(), gate)
    await gate.reached.wait()
    with pytest.raises(DeadlineExceeded):
        await idempotency(asked(timeout_s=0.01), gate)
    gate.opened.set()
    assert isinstance(await first, Completion)


async def test_another_body_does_not_join() -> None:
    idempotency, gate = policy(), Gated(completion())
    first = start(idempotency, asked(), gate)
    await gate.reached.wait()
    with pytest.raises(IdempotencyConflict):
        await idempotency(asked("order-1", content="another"), gate)
    gate.opened.set()
    await first


async def test_a_call_that_runs_in_another_process_is_waited_for_by_the_client() -> None:
    store = FakeAnswers()
    gate = Gated(completion())
    elsewhere = start(policy(store), asked(), gate)
    await gate.reached.wait()
    with pytest.raises(IdempotencyInProgress) as refused:
        await policy(store)(asked(), gate)
    assert refused.value.headers()["retry-after"] == "1"
    gate.opened.set()
    await elsewhere
    assert isinstance(await policy(store)(asked(), gate), Completion)
    assert gate.calls == 1


# ----------------------------------------------------------------------- explanations


async def test_an_explanation_claims_nothing_and_says_what_a_call_would_get() -> None:
    store, handler = FakeAnswers(), Answers(completion())
    idempotency = policy(store)
    await idempotency(asked(dry_run=True), handler)
    assert (store.claims, store.kept, len(handler.calls)) == (0, {}, 1)
    await idempotency(asked(), handler)
    explained = asked(dry_run=True)
    assert isinstance(await idempotency(explained, handler), Completion)
    assert explained.trace.all(Replayed)
    assert len(handler.calls) == 2
    with pytest.raises(IdempotencyConflict):
        await idempotency(asked(dry_run=True, content="another"), handler)


async def test_an_explanation_of_what_is_running_does_not_wait_for_it() -> None:
    idempotency, gate = policy(), Gated(completion())
    first = start(idempotency, asked(), gate)
    await gate.reached.wait()
    explained = asked(dry_run=True)
    assert isinstance(await idempotency(explained, Answers(completion("plan"))), Completion)
    assert explained.trace.all(Replayed)
    gate.opened.set()
    await first


async def test_a_claim_tells_no_secret_and_no_prompt() -> None:
    store = FakeAnswers()
    await policy(store)(asked(content="my prompt"), Answers(completion()))
    ((claim, _),) = store.kept.values()
    assert isinstance(claim, Claim)
    assert "my prompt" not in repr(claim)
