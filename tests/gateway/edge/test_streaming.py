"""What does a client of a streamed call see?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import (
    InvalidKey,
    RateLimited,
    ResponseParsing,
    ServerError,
    SluiceError,
    UpstreamTimeout,
)
from gateway.exchange import Event, Reply, Stream
from gateway.usage import Usage
from tests.builders import Answers, completion, stream, text_event, usage_event
from tests.gateway.edge.served import Edge, Feed, Lines

STREAM: dict[str, Any] = {"stream": True}
ASKED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
USAGE = Usage(prompt_tokens=3, completion_tokens=2)


def text_of(events: list[Any]) -> str:
    deltas = (choice["delta"] for event in events for choice in event["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


async def seen(reply: Reply | SluiceError, body: dict[str, Any]) -> list[Any]:
    """All that a client gets from this stream, `[DONE]` included."""
    async with Edge(Answers(reply)) as edge, edge.post(body) as answer:
        assert answer.status == 200
        return await Lines(answer).rest()


# ----------------------------------------------------------------------------- content


async def test_the_streamed_text_is_that_of_the_unstreamed_answer() -> None:
    pieces = ["Grüße, ", "世界", " 😀", "\n", "", 'a "quoted" \\ end']
    streamed = stream(*([text_event(piece)] for piece in pieces))
    async with Edge(Answers(streamed, completion("".join(pieces)))) as edge:
        async with edge.post(STREAM) as answer:
            assert answer.content_type == "text/event-stream"
            assert answer.headers["cache-control"] == "no-cache"
            *events, done = await Lines(answer).rest()
        async with edge.post() as answer:
            whole = await answer.json()
    assert done == "[DONE]"
    assert text_of(events) == whole["choices"][0]["message"]["content"] == "".join(pieces)


async def test_events_go_out_as_the_upstreams_bytes() -> None:
    raw = b'data: {"choices":[],"odd" :  1.50,"x":null}\n\n'
    reply = stream([Event({"choices": [], "odd": 1.5}, raw)])
    async with Edge(Answers(reply)) as edge, edge.post(STREAM) as answer:
        assert await answer.read() == raw + b"data: [DONE]\n\n"


async def test_each_event_goes_out_when_it_comes() -> None:
    feed = Feed()
    async with Edge(feed) as edge:
        feed.put([text_event("a")])
        async with edge.post(STREAM) as answer:
            lines = Lines(answer)
            assert text_of([await lines.next()]) == "a"
            feed.put([text_event("b")])
            assert text_of([await lines.next()]) == "b"
            feed.end()
            assert await lines.rest() == ["[DONE]"]


async def test_tool_call_deltas_keep_their_index_id_and_arguments() -> None:
    deltas = [
        [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "f"}}],
        [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "g"}}],
        [{"index": 0, "function": {"arguments": '{"x":'}}],
        [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"name": ""}}],
    ]
    batches = ([Event({"choices": [{"index": 0, "delta": {"tool_calls": d}}]})] for d in deltas)
    *events, _ = await seen(stream(*batches), STREAM)
    assert [event["choices"][0]["delta"]["tool_calls"] for event in events] == deltas


# ------------------------------------------------------------------------------- usage


def with_usage(data: dict[str, Any]) -> Event:
    return Event({**data, "usage": {"prompt_tokens": 3}}, b"raw", USAGE)


async def test_the_usage_chunk_is_hidden_from_who_did_not_ask() -> None:
    *events, done = await seen(stream([text_event("a"), usage_event(USAGE)]), STREAM)
    assert text_of(events) == "a"
    assert len(events) == 1
    assert done == "[DONE]"


async def test_the_usage_chunk_reaches_who_asked() -> None:
    chunk = Event({"choices": [], "usage": {"prompt_tokens": 3}}, None, USAGE)
    *events, done = await seen(stream([text_event("a")], [chunk]), ASKED)
    assert events[-1] == {"choices": [], "usage": {"prompt_tokens": 3}}
    assert done == "[DONE]"


async def test_a_usage_on_a_chunk_with_choices_is_hidden_and_the_choices_are_kept() -> None:
    choices = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    (event, _) = await seen(stream([with_usage({"id": "x", "choices": choices})]), STREAM)
    assert event == {"id": "x", "choices": choices}


# ------------------------------------------------------------------------------ endings


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidKey("x"), 401),
        (RateLimited("x", retry_after_s=1.5), 429),
        (ServerError("x", status=502), 502),
        (UpstreamTimeout("x"), 504),
        (TypeError("bug"), 500),
    ],
)
@pytest.mark.parametrize("body", [STREAM, {}], ids=["streamed", "unstreamed"])
async def test_an_error_before_the_first_event_is_an_ordinary_answer(
    error: Exception, status: int, body: dict[str, Any]
) -> None:
    async with Edge(Answers(error)) as edge, edge.post(body) as answer:
        assert answer.status == status
        assert answer.content_type == "application/json"
        assert set((await answer.json())["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"].startswith("call_")
        if status == 429:
            assert answer.headers["retry-after"] == "2"
            assert answer.headers["retry-after-ms"] == "1500"


@pytest.mark.parametrize("error", [ResponseParsing("cut"), TypeError("a bug")])
async def test_an_error_after_the_first_event_is_an_event_and_the_end(error: Exception) -> None:
    feed = Feed()
    feed.put([text_event("a")], error)
    async with Edge(feed) as edge, edge.post(STREAM) as answer:
        assert answer.status == 200
        events = await Lines(answer).rest()
    assert len(events) == 2
    assert set(events[1]["error"]) == {"message", "type", "param", "code"}
    assert "bug" not in events[1]["error"]["message"]
    assert feed.closings == 1


async def test_done_is_said_exactly_once_and_only_after_the_stream_is_closed() -> None:
    feed, settling = Feed(), asyncio.Event()

    async def path(call: Any) -> Reply:
        reply = await feed(call)
        assert isinstance(reply, Stream)
        reply.on_close(lambda _: settling.wait())  # type: ignore[arg-type,return-value]
        return reply

    feed.put([text_event("a")])
    feed.end()
    async with Edge(path) as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        await lines.next()
        await feed.closed.wait()
        waiting = asyncio.ensure_future(lines.rest())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        settling.set()
        assert await waiting == ["[DONE]"]
    assert feed.closings == 1


async def test_a_stream_that_fails_at_once_is_closed_once() -> None:
    feed = Feed()
    feed.put([], ServerError("x"))
    async with Edge(feed) as edge, edge.post(STREAM) as answer:
        assert answer.status == 500
    assert feed.closings == 1


async def test_a_connection_serves_another_call_after_a_stream() -> None:
    async with Edge(Answers(stream([text_event("a")]), completion("b"))) as edge:
        async with edge.post(STREAM) as answer:
            await answer.read()
        async with edge.post() as answer:
            assert (await answer.json())["choices"][0]["message"]["content"] == "b"
        assert len(edge.server.server_state.connections) == 1


@pytest.mark.parametrize("first", [[text_event("a")], []], ids=["after", "before the first event"])
async def test_a_bug_is_logged_once(first: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    feed = Feed()
    feed.put(first, TypeError("bug"))
    async with Edge(feed) as edge, edge.post(STREAM) as answer:
        await answer.read()
    logged = [record for record in caplog.records if record.name == "sluice"]
    assert [record.exc_info is not None for record in logged] == [True]


@pytest.mark.parametrize("body", [STREAM, {}], ids=["streamed", "unstreamed"])
async def test_a_path_that_mixes_up_its_replies_is_a_clear_error(body: dict[str, Any]) -> None:
    wrong = completion() if body else stream([text_event("a")])
    async with Edge(Answers(wrong)) as edge, edge.post(body) as answer:
        assert answer.status == 500
        assert (await answer.json())["error"]["code"] == "internal_error"
