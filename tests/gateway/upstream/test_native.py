"""The native lane against a scripted provider on 127.0.0.1."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.errors import (
    ConnectionFailed,
    ProviderAuthentication,
    RateLimited,
    ResponseParsing,
    ServerError,
    UpstreamFailure,
    UpstreamTimeout,
)
from gateway.exchange import Completion, Stream
from gateway.targets import Limits
from gateway.trace import NeverSent
from gateway.upstream.native import NativeLane
from tests.builders import SECRET, call, target
from tests.fakes import openai
from tests.fakes.upstream import Answer, Step, Upstream, json_answer, sse_answer


@pytest.fixture
async def lane() -> AsyncIterator[NativeLane]:
    lane = NativeLane()
    yield lane
    await lane.aclose()


async def completion_of(lane: NativeLane, answer: Answer, **limits: float) -> Completion:
    async with Upstream(answer) as upstream:
        at = target(base_url=upstream.url, limits=Limits(**limits))  # type: ignore[arg-type]
        reply = await lane(call(at=at))
    assert isinstance(reply, Completion)
    return reply


async def stream_of(lane: NativeLane, upstream: Upstream, **limits: float) -> Stream:
    at = target(base_url=upstream.url, limits=Limits(**limits))  # type: ignore[arg-type]
    reply = await lane(call(at=at, stream=True))
    assert isinstance(reply, Stream)
    return reply


async def read(stream: Stream, into: list[bytes] | None = None) -> bytes:
    received = [] if into is None else into
    async for events in stream:
        received += [event.encode() for event in events]
    return b"".join(received)


async def test_the_body_arrives_with_only_the_model_replaced(lane: NativeLane) -> None:
    body = {
        "model": "alias",
        "messages": [{"role": "user", "content": "ä€😀", "x": None}],
        "temperature": 1.0,
        "seed": 2**63 - 1,
        "unknown": {"deep": [1.5, {"k": False}]},
    }
    async with Upstream(json_answer(openai.completion())) as upstream:
        await lane(call(body=body, at=target(base_url=upstream.url)))
    request = upstream.request
    assert request.path == "/chat/completions"
    assert request.json == {**body, "model": "model"}
    assert b'"temperature":1.0' in request.body
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept-encoding"] == "identity"


async def test_a_stream_is_asked_for_its_usage(lane: NativeLane) -> None:
    async with Upstream(sse_answer([*openai.chunks("a"), *openai.end()])) as upstream:
        stream = await stream_of(lane, upstream)
        await read(stream)
    assert upstream.request.json["stream_options"] == {"include_usage": True}


async def test_only_listed_headers_are_forwarded(lane: NativeLane) -> None:
    given = {"openai-beta": "x=1", "x-secret": "no", "user-agent": "client"}
    async with Upstream(json_answer(openai.completion())) as upstream:
        at = target(base_url=upstream.url, forward_headers=("openai-beta",))
        await lane(call(at=at, headers=given))
    arrived = upstream.request.headers
    assert arrived["openai-beta"] == "x=1"
    assert "x-secret" not in arrived
    assert arrived["user-agent"].startswith("sluice/")


async def test_an_answer_comes_back_byte_for_byte(lane: NativeLane) -> None:
    raw = b'{ "x_new": 1,' + orjson.dumps(openai.completion())[1:]
    answer = await completion_of(lane, Answer((raw,)))
    assert answer.encode() == raw
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.cached_tokens) == (22, 12)


async def test_a_stream_comes_back_byte_for_byte_whatever_the_reads(lane: NativeLane) -> None:
    events = [*openai.chunks("ä", "€", "😀"), *openai.end()]
    text = b"".join(events)
    for size in (1, 7, len(text)):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        async with Upstream(sse_answer(pieces)) as upstream:
            received = await read(await stream_of(lane, upstream))
        assert received == text.removesuffix(openai.DONE)


async def test_a_connection_is_used_again_after_a_finished_stream(lane: NativeLane) -> None:
    async with Upstream(sse_answer([*openai.chunks("a"), *openai.end()])) as upstream:
        for _ in range(3):
            await read(await stream_of(lane, upstream))
        assert len(upstream.requests) == 3
        assert upstream.connections == 1


async def test_a_connection_is_used_again_although_its_answers_end_comes_late(
    lane: NativeLane,
) -> None:
    late = asyncio.Event()  # uvicorn, and so vLLM, writes the end of the body by itself
    async with Upstream(sse_answer([*openai.chunks("a"), *openai.end(), late])) as upstream:
        for _ in range(3):
            late.clear()
            stream = await stream_of(lane, upstream)
            asyncio.get_running_loop().call_later(0.005, late.set)
            await read(stream)
        assert upstream.connections == 1


async def test_an_answer_that_never_ends_after_its_last_event_is_not_waited_for(
    lane: NativeLane,
) -> None:
    async with Upstream(sse_answer([*openai.chunks("a"), *openai.end(), Step.HANG])) as upstream:
        stream = await stream_of(lane, upstream)
        async with asyncio.timeout(10):
            await read(stream)
            await upstream.left.wait()


BROKEN = {
    "a cut": [*openai.chunks("a", "b"), Step.CUT],
    "an end without a finish reason": openai.chunks("a", "b"),
    "[DONE] without a finish reason": [*openai.chunks("a", "b"), openai.DONE],
    "a broken line": [*openai.chunks("a"), b'data: {"id": "x", "choices": [oops\n\n'],
    "no object": [*openai.chunks("a"), b"data: 7\n\n"],
    "tool calls that are none": [*openai.chunks("a"), openai.chunk({"tool_calls": [1]})],
    "choices that are no list": [*openai.chunks("a"), b'data: {"choices": 5}\n\n'],
    "an index that is no number": [
        *openai.chunks("a"),
        b'data: {"choices": [{"index": [0], "delta": {}}]}\n\n',
    ],
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_fails_after_what_was_good(lane: NativeLane, name: str) -> None:
    async with Upstream(sse_answer(BROKEN[name])) as upstream:
        received: list[bytes] = []
        with pytest.raises(ResponseParsing) as caught:
            await read(await stream_of(lane, upstream), into=received)
    assert b'"a"' in b"".join(received)
    assert b"stop" not in b"".join(received)
    assert caught.value.billable


async def test_good_events_in_the_same_read_as_a_bad_one_are_delivered(lane: NativeLane) -> None:
    together = b"".join(openai.chunks("good")) + b"data: {oops\n\n"
    async with Upstream(sse_answer([together])) as upstream:
        stream = await stream_of(lane, upstream)
        assert b"good" in b"".join(e.encode() for e in await anext(stream))
        with pytest.raises(ResponseParsing):
            await anext(stream)


async def test_an_error_in_the_stream_is_a_failure_of_its_class(lane: NativeLane) -> None:
    error = orjson.dumps(openai.error("Rate limit", "tokens", "rate_limit_exceeded"))
    async with Upstream(sse_answer([*openai.chunks("a"), b"data: " + error + b"\n\n"])) as upstream:
        stream = await stream_of(lane, upstream)
        with pytest.raises(RateLimited) as caught:
            await read(stream)
    assert caught.value.billable


async def test_an_error_as_the_first_event_raises_before_there_is_a_stream(
    lane: NativeLane,
) -> None:
    error = orjson.dumps(openai.error("The server had an error", "server_error"))
    async with Upstream(sse_answer([b"data: " + error + b"\n\n"])) as upstream:
        with pytest.raises(ServerError) as caught:
            await stream_of(lane, upstream)
    assert not caught.value.billable  # no answer had begun


async def test_an_empty_stream_raises_before_there_is_a_stream(lane: NativeLane) -> None:
    async with Upstream(sse_answer([])) as upstream:
        with pytest.raises(ResponseParsing):
            await stream_of(lane, upstream)


async def test_a_cut_after_all_finish_reasons_loses_nothing(lane: NativeLane) -> None:
    async with Upstream(
        sse_answer([*openai.chunks("a"), openai.chunk({}, "stop"), Step.CUT])
    ) as upstream:
        assert b'"stop"' in await read(await stream_of(lane, upstream))


async def test_a_stream_has_one_id(lane: NativeLane) -> None:
    parts = [
        openai.chunk({"content": "a"}, id="one"),
        openai.chunk({"content": "b"}, id="two"),
        openai.chunk({}, "stop", id=""),
        openai.DONE,
    ]
    async with Upstream(sse_answer(parts)) as upstream:
        stream = await stream_of(lane, upstream)
        ids = [event.data["id"] async for events in stream for event in events]
    assert set(ids) == {"one"}


MALFORMED = {
    "not JSON": Answer((b'{"id": "x", "choices": [ {oops',)),
    "HTML": Answer((b"<html>login</html>",)),
    "empty": Answer((b"",)),
    "no choices": json_answer({"id": "x", "object": "chat.completion"}),
    "no message": json_answer({"choices": [{"index": 0}]}),
    "cut": Answer((b'{"id":', Step.CUT)),
    "compressed": Answer((b"x",), headers={"content-encoding": "gzip"}),
    "tool calls that are none": json_answer(
        openai.completion({"role": "assistant", "tool_calls": [{"function": {}}]})
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_answer_is_a_parsing_failure(lane: NativeLane, name: str) -> None:
    with pytest.raises(ResponseParsing):
        await completion_of(lane, MALFORMED[name])


async def test_an_error_in_a_good_status_is_an_error(lane: NativeLane) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        await completion_of(lane, json_answer(openai.error("Upstream failed", "server_error")))
    assert not caught.value.billable


async def test_an_answer_over_the_cap_is_refused(lane: NativeLane) -> None:
    with pytest.raises(ResponseParsing):
        await completion_of(lane, json_answer(openai.completion("x" * 5000)), max_body_bytes=4000)


async def test_a_redirect_is_not_followed(lane: NativeLane) -> None:
    async with Upstream(json_answer(openai.completion())) as elsewhere:
        answer = Answer((b"",), 307, {"location": elsewhere.url + "/chat/completions"})
        with pytest.raises(UpstreamFailure):
            await completion_of(lane, answer)
    assert elsewhere.requests == []


async def test_an_error_status_is_classified_and_names_no_secret(lane: NativeLane) -> None:
    refusal = openai.error(f"Incorrect API key provided: {SECRET}", "invalid_request_error")
    with pytest.raises(ProviderAuthentication) as caught:
        await completion_of(lane, json_answer(refusal, 401))
    assert SECRET not in str(caught.value.body())
    assert not caught.value.billable


async def test_a_huge_error_body_is_not_read(lane: NativeLane) -> None:
    with pytest.raises(ServerError):
        await completion_of(lane, Answer((b"x" * 100_000,) * 20, 500))


async def test_a_refused_connection_costs_nothing(lane: NativeLane) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await lane(call(at=target(base_url="http://127.0.0.1:1/v1")))
    assert not caught.value.billable
    assert "127.0.0.1" not in caught.value.message


async def test_the_limit_on_connecting_includes_the_search_for_the_address(
    lane: NativeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", resolve)
    at = target(base_url="http://provider.invalid/v1", limits=Limits(connect_s=0.1))
    with pytest.raises(UpstreamTimeout) as caught:
        await lane(call(at=at, timeout_s=2))
    assert not caught.value.billable


async def test_a_connection_dropped_after_sending_may_have_cost_something(
    lane: NativeLane,
) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await completion_of(lane, Answer((Step.CUT,)))
    assert caught.value.billable


async def test_the_first_event_has_its_own_limit(lane: NativeLane) -> None:
    began = time.monotonic()
    async with Upstream(sse_answer([Step.HANG])) as upstream:
        with pytest.raises(UpstreamTimeout) as caught:
            await stream_of(lane, upstream, first_event_s=0.1)
        async with asyncio.timeout(10):
            await upstream.left.wait()
    assert caught.value.billable
    assert time.monotonic() - began < 5


async def test_silence_within_a_stream_is_a_timeout(lane: NativeLane) -> None:
    async with Upstream(sse_answer([*openai.chunks("a"), Step.HANG])) as upstream:
        stream = await stream_of(lane, upstream, idle_s=0.1)
        with pytest.raises(UpstreamTimeout):
            await read(stream)
        async with asyncio.timeout(10):
            await upstream.left.wait()


async def test_the_total_limit_ends_a_stream_that_is_never_idle(lane: NativeLane) -> None:
    async with Upstream(sse_answer(openai.chunks("a") * 100_000)) as upstream:
        stream = await stream_of(lane, upstream, total_s=0.2)
        with pytest.raises(UpstreamTimeout):
            await read(stream)
        assert upstream.sent < 200_000


async def test_the_total_limit_holds_while_nobody_reads(lane: NativeLane) -> None:
    async with Upstream(sse_answer([*openai.chunks("a"), Step.HANG])) as upstream:
        stream = await stream_of(lane, upstream, total_s=0.1)
        await anext(stream)
        await asyncio.sleep(0.2)
        with pytest.raises(UpstreamTimeout):
            await anext(stream)


async def test_an_unstreamed_call_ends_at_its_deadline(lane: NativeLane) -> None:
    async with Upstream(Answer((Step.HANG,))) as upstream:
        with pytest.raises(UpstreamTimeout):
            await lane(call(at=target(base_url=upstream.url), timeout_s=0.1))
        async with asyncio.timeout(10):
            await upstream.left.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_hangs_up_at_once(lane: NativeLane, stream: bool) -> None:
    async with Upstream(Answer((Step.HANG,))) as upstream:
        task = asyncio.create_task(lane(call(at=target(base_url=upstream.url), stream=stream)))
        await upstream.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await upstream.left.wait()


async def test_closing_an_unread_stream_hangs_up_at_once(lane: NativeLane) -> None:
    async with Upstream(sse_answer([*openai.chunks("a"), Step.HANG])) as upstream:
        stream = await stream_of(lane, upstream)
        await stream.aclose()
        async with asyncio.timeout(10):
            await upstream.left.wait()


async def test_a_slow_reader_slows_the_provider(lane: NativeLane) -> None:
    big = openai.chunk({"content": "x" * 10_000})
    async with Upstream(sse_answer([big] * 2000)) as upstream:
        stream = await stream_of(lane, upstream)
        await anext(stream)
        await asyncio.sleep(0.2)
        assert upstream.sent < 1000  # 20 MB are waiting at the provider, not here
        await stream.aclose()


async def test_a_server_lists_its_models(lane: NativeLane) -> None:
    listed = {"object": "list", "data": [{"id": "a"}, {"id": "b/c"}]}
    async with Upstream(json_answer(listed)) as upstream:
        at = target(base_url=upstream.url)
        assert await lane.list_models(at.provider, at.credential) == ["a", "b/c"]
    assert upstream.request.path == "/models"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_cancelled_while_connecting_was_never_sent(
    lane: NativeLane, stream: bool
) -> None:
    accepted = asyncio.Event()

    async def never_shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_shake_hands, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        asked = call(at=target(base_url=f"https://127.0.0.1:{port}/v1"), stream=stream)
        task = asyncio.create_task(lane(asked))
        await accepted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asked.trace.last(NeverSent) == NeverSent(1)


async def test_what_is_cancelled_after_sending_was_sent(lane: NativeLane) -> None:
    async with Upstream(Answer((Step.HANG,))) as upstream:
        asked = call(at=target(base_url=upstream.url))
        task = asyncio.create_task(lane(asked))
        await upstream.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asked.trace.last(NeverSent) is None


async def test_a_json_error_instead_of_a_stream_keeps_its_class(lane: NativeLane) -> None:
    error = openai.error("Rate limit reached", "tokens", "rate_limit_exceeded")
    async with Upstream(json_answer(error)) as upstream:
        with pytest.raises(RateLimited) as caught:
            await stream_of(lane, upstream)
    assert not caught.value.billable


async def test_a_whole_answer_instead_of_a_stream_cannot_be_used(lane: NativeLane) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        with pytest.raises(ResponseParsing):
            await stream_of(lane, upstream)
