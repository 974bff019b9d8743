"""Streams close exactly once; policies form a chain; a trace remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.errors import ConnectionFailed, DeadlineExceeded, ResponseParsing, SluiceError
from gateway.exchange import Call, Completion, Ending, Event, Events, Handler, Reply, Stream, chain
from gateway.trace import AttemptAnswered, AttemptSent, Paused, Skipped, Trace


class Upstream:
    """A source of events that can break, wait, and counts how often it is closed."""

    def __init__(self, *steps: str | SluiceError | asyncio.Event) -> None:
        self.steps = list(steps)
        self.waiting = asyncio.Event()
        self.log: list[str] = []

    def __aiter__(self) -> AsyncIterator[Events]:
        return self

    async def __anext__(self) -> Events:
        if not self.steps:
            raise StopAsyncIteration
        step = self.steps.pop(0)
        if isinstance(step, SluiceError):
            raise step
        if isinstance(step, asyncio.Event):
            self.waiting.set()
            await step.wait()
            return await self.__anext__()
        return [Event({"text": step})]

    async def close(self) -> None:
        self.log.append("close")

    def stream(self) -> Stream:
        """A stream of this source with two callbacks."""
        stream = Stream(self, self.close)
        stream.on_close(self.callback("inner"))
        stream.on_close(self.callback("outer"))
        return stream

    def callback(self, name: str) -> Callable[[Ending], Awaitable[None]]:
        async def note(ending: Ending) -> None:
            self.log.append(f"{name} {ending.how}")
            self.ending = ending

        return note


async def texts(stream: Stream) -> list[str]:
    return [event.data["text"] async for events in stream for event in events]


def closed_once(how: str) -> list[str]:
    return ["close", f"inner {how}", f"outer {how}"]


# ------------------------------------------------------------------ closing, once


async def test_a_stream_that_is_read_to_its_end_is_finished() -> None:
    upstream = Upstream("a", "b")
    stream = upstream.stream()
    assert await texts(stream) == ["a", "b"]
    await stream.aclose()
    await stream.aclose(ConnectionFailed("late"))
    assert upstream.log == closed_once("finished")
    assert upstream.ending == Ending("finished")


async def test_everything_is_closed_before_the_reader_learns_of_the_end() -> None:
    upstream = Upstream("a")
    stream = upstream.stream()
    await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert upstream.log == closed_once("finished")


async def test_an_unread_stream_is_abandoned() -> None:
    upstream = Upstream("a")
    await upstream.stream().aclose()
    assert upstream.log == closed_once("abandoned")


async def test_a_stream_left_in_the_middle_is_abandoned() -> None:
    upstream = Upstream("a", "b", "c")
    stream = upstream.stream()
    await anext(stream)
    await stream.aclose()
    assert upstream.log == closed_once("abandoned")
    assert upstream.ending.error is None


async def test_a_stream_may_be_closed_with_an_error() -> None:
    upstream = Upstream("a", "b")
    stream = upstream.stream()
    error = DeadlineExceeded("over")
    await stream.aclose(error)
    assert upstream.log == closed_once("failed")
    assert upstream.ending.error is error


@pytest.mark.parametrize("read", [[], ["a"], ["a", "b"]])
async def test_a_stream_that_breaks_has_failed(read: list[str]) -> None:
    error = ResponseParsing("cut")
    upstream = Upstream(*read, error, "never")
    stream = upstream.stream()
    for text in read:
        assert (await anext(stream))[0].data["text"] == text
    with pytest.raises(ResponseParsing) as caught:
        await anext(stream)
    assert caught.value is error
    await stream.aclose()
    assert upstream.log == closed_once("failed")
    assert upstream.ending.error is error


async def test_a_step_that_raises_fails_the_stream() -> None:
    def refuse(events: Events) -> Events:
        raise ResponseParsing("not this")

    upstream = Upstream("a", "b")
    stream = upstream.stream()
    stream.through(refuse)
    with pytest.raises(ResponseParsing):
        await anext(stream)
    assert upstream.log == closed_once("failed")


async def test_a_closed_stream_has_no_more_events() -> None:
    stream = Upstream("a", "b").stream()
    await stream.aclose()
    assert await texts(stream) == []


async def test_a_failed_stream_stays_failed() -> None:
    stream = Upstream("a", ResponseParsing("cut"), "b").stream()
    with pytest.raises(ResponseParsing):
        await texts(stream)
    with pytest.raises(ResponseParsing):
        await texts(stream)


async def test_a_reader_never_takes_a_close_with_an_error_for_the_end() -> None:
    arrival = asyncio.Event()
    upstream = Upstream(arrival)  # and then it is at its end
    stream = upstream.stream()
    reader = asyncio.create_task(texts(stream))
    await upstream.waiting.wait()
    await stream.aclose(DeadlineExceeded("over"))
    arrival.set()
    with pytest.raises(DeadlineExceeded):
        await reader
    assert upstream.log == closed_once("failed")


async def test_a_cancelled_reader_leaves_the_stream_to_be_closed() -> None:
    upstream = Upstream("a", asyncio.Event())
    stream = upstream.stream()
    reader = asyncio.create_task(texts(stream))
    await upstream.waiting.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert upstream.log == []
    await stream.aclose()
    assert upstream.log == closed_once("abandoned")


async def test_closing_goes_on_when_the_one_who_waits_for_it_is_cancelled() -> None:
    upstream = Upstream("a")
    stream = upstream.stream()
    entered, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(ending: Ending) -> None:
        entered.set()
        await go_on.wait()
        upstream.log.append("slow")

    async def last(ending: Ending) -> None:
        done.set()

    stream.on_close(slow)
    stream.on_close(last)
    reader = asyncio.create_task(texts(stream))
    await entered.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go_on.set()
    await done.wait()
    await stream.aclose()
    assert upstream.log == [*closed_once("finished"), "slow"]


async def test_all_who_close_wait_for_the_same_closing() -> None:
    upstream = Upstream("a")
    stream = upstream.stream()
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(ending: Ending) -> None:
        entered.set()
        await go_on.wait()

    stream.on_close(slow)
    closers = [asyncio.create_task(stream.aclose()) for _ in range(3)]
    await entered.wait()
    assert not any(closer.done() for closer in closers)
    go_on.set()
    await asyncio.gather(*closers)
    assert upstream.log == closed_once("abandoned")


@pytest.mark.parametrize("raising", ["close", "callback"])
async def test_every_callback_runs_although_one_raises(raising: str) -> None:
    upstream = Upstream("a")

    async def broken(*_: object) -> None:
        raise ValueError("a bug")

    stream = Stream(upstream, broken if raising == "close" else upstream.close)
    stream.on_close(upstream.callback("inner"))
    if raising == "callback":
        stream.on_close(broken)
    stream.on_close(upstream.callback("outer"))
    with pytest.raises(ValueError, match="a bug"):
        await stream.aclose()
    expected = closed_once("abandoned")
    assert upstream.log == (expected[1:] if raising == "close" else expected)


# ------------------------------------------------------------------ steps, events


async def test_steps_apply_in_the_order_in_which_they_were_added() -> None:
    def add(suffix: str) -> Callable[[Events], Events]:
        def step(events: Events) -> Events:
            return [Event({"text": event.data["text"] + suffix}) for event in events]

        return step

    stream = Upstream("a", "b").stream()
    stream.through(add("1"))
    stream.through(add("2"))
    assert await texts(stream) == ["a12", "b12"]


async def test_a_step_may_drop_events() -> None:
    upstream = Upstream("a", "b", "c")
    stream = upstream.stream()
    stream.through(lambda events: [event for event in events if event.data["text"] != "b"])
    assert await texts(stream) == ["a", "c"]
    assert upstream.log == closed_once("finished")


def test_what_was_not_changed_goes_out_as_it_came() -> None:
    event = Event({"a": 1}, b'data: {"a" : 1}\n\n')
    assert event.encode() == b'data: {"a" : 1}\n\n'
    assert event.with_data({"a": 2}).encode() == b'data: {"a":2}\n\n'
    completion = Completion(data={"a": 1}, raw=b'{"a" : 1}')
    assert completion.encode() == b'{"a" : 1}'
    assert completion.with_data({"a": 2}).encode() == b'{"a":2}'


# ----------------------------------------------------------------------- the call


def call(**fields: object) -> Call:
    made = {"id": "c", "body": {"model": "m"}, "received_at": 0.0, "deadline": 0.0}
    return Call(**{**made, "trace": Trace(), **fields})


def test_a_changed_call_shares_its_trace() -> None:
    first = call()
    second = first.with_(body={"model": "other"})
    assert (first.model, second.model) == ("m", "other")
    assert second.trace is first.trace


@pytest.mark.parametrize(
    ("body", "stream", "wants_usage"),
    [
        ({}, False, False),
        ({"stream": None}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": None}, True, False),
        ({"stream": True, "stream_options": {}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": None}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
    ],
)
def test_a_call_knows_how_it_wants_its_answer(
    body: dict[str, object], stream: bool, wants_usage: bool
) -> None:
    made = call(body=body)
    assert (made.stream, made.wants_usage) == (stream, wants_usage)


def test_a_credential_is_not_in_a_calls_repr() -> None:
    assert "sk-secret" not in repr(call(credential="sk-secret"))


# ---------------------------------------------------------------------- the chain


class Layer:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        self.log.append(f"{self.name} in")
        try:
            return await call_next(call)
        finally:
            self.log.append(f"{self.name} out")


async def test_the_first_policy_is_the_outermost() -> None:
    log: list[str] = []
    answer = Completion(data={})

    async def endpoint(call: Call) -> Reply:
        log.append("endpoint")
        return answer

    handler = chain([Layer("a", log), Layer("b", log)], endpoint)
    assert await handler(call()) is answer
    assert log == ["a in", "b in", "endpoint", "b out", "a out"]


async def test_a_policy_may_answer_or_call_next_often() -> None:
    seen: list[str] = []

    async def endpoint(call: Call) -> Reply:
        seen.append(call.model)
        return Completion(data={})

    async def twice(call: Call, call_next: Handler) -> Reply:
        await call_next(call.with_(body={"model": "first"}))
        return await call_next(call.with_(body={"model": "second"}))

    async def answer(call: Call, call_next: Handler) -> Reply:
        return Completion(data={"from": "policy"})

    await chain([twice], endpoint)(call())
    assert seen == ["first", "second"]
    assert (await chain([answer, twice], endpoint)(call())).data == {"from": "policy"}
    assert seen == ["first", "second"]


async def test_an_empty_chain_is_its_endpoint() -> None:
    async def endpoint(call: Call) -> Reply:
        return Completion(data={})

    assert chain([], endpoint) is endpoint


# ---------------------------------------------------------------------- the trace


def test_a_trace_remembers_in_order() -> None:
    trace = Trace()
    assert trace.last(Skipped) is None
    facts = [Skipped("a/b", "vision"), AttemptSent(1, 0.1), Skipped("c/d", "tools")]
    for fact in facts:
        trace.add(fact)
    assert trace.facts == facts
    assert trace.last(Skipped) == Skipped("c/d", "tools")
    assert trace.all(Skipped) == [facts[0], facts[2]]
    assert trace.all(AttemptAnswered) == []


def test_a_trace_describes_every_fact() -> None:
    trace = Trace()
    trace.add(Paused(0.12345))
    trace.add(AttemptSent(2, 1.5))
    assert trace.describe() == [
        {"fact": "paused", "ms": 123},
        {"fact": "attempt_sent", "number": 2, "at_us": 1500000},
    ]


def test_a_traces_clock_goes_forward() -> None:
    trace = Trace()
    first = trace.now_s()
    assert 0 <= first <= trace.now_s() < 60
