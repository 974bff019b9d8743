"""How an attempt that goes wrong looks from the gateway, whatever litellm makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.errors import (
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    InvalidConfiguration,
    InvalidPrompt,
    Overloaded,
    ProviderAuthentication,
    ProviderPermission,
    QuotaExceeded,
    RateLimited,
    ResponseParsing,
    ServerError,
    ToolCallInvalid,
    UpstreamFailure,
    UpstreamModelNotFound,
    UpstreamTimeout,
)
from gateway.exchange import Reply, Stream
from gateway.targets import Limits
from gateway.upstream.library import LibraryLane
from tests.fakes import anthropic, bedrock, cohere, gemini, openai
from tests.fakes.upstream import Answer, Step, Upstream, json_answer, sse
from tests.fakes.wires import LITELLM_WARNINGS, QUICK, SECRET, WIRES, Wire, call, target

pytestmark = [pytest.mark.asyncio(loop_scope="session"), *LITELLM_WARNINGS]

every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])


async def failure(
    lane: LibraryLane,
    wire: Wire,
    answer: Answer,
    *,
    stream: bool = True,
    limits: Limits | None = None,
    **body: Any,
) -> tuple[UpstreamFailure, str, Upstream]:
    """The failure of one attempt, the text that came before it, and who was asked.

    Without `limits`, only an answer that hangs meets one.
    """
    limits = limits or (QUICK if Step.HANG in answer.parts else Limits())
    texts: list[str] = []
    async with Upstream(answer) as upstream:
        attempt = call(target(wire, upstream.url, limits), stream=stream, **body)
        with pytest.raises(UpstreamFailure) as caught:
            await read(await lane(attempt), texts)
        assert len(upstream.requests) <= 1
        if Step.HANG in answer.parts:
            await asyncio.wait_for(upstream.left.wait(), 10)
        return caught.value, "".join(texts), upstream


async def read(reply: Reply, texts: list[str]) -> None:
    assert isinstance(reply, Stream), "no failure"
    async for events in reply:
        for choice in (choice for event in events for choice in event.data["choices"]):
            assert choice["finish_reason"] is None, "no failure"
            texts.append(choice["delta"].get("content") or "")


# ----------------------------------------------------------------- streams that break


@every_wire
async def test_a_stream_that_is_cut_off_is_a_failure(lane: LibraryLane, wire: Wire):
    error, text, _ = await failure(lane, wire, wire.stream(*wire.begin("Hel", "lo"), Step.CUT))

    assert type(error) is ResponseParsing
    assert error.billable
    assert text in ("", "Hel", "Hello")  # a reset may overtake what was sent before it


@every_wire
async def test_a_clean_end_without_a_finish_reason_is_a_failure(lane: LibraryLane, wire: Wire):
    error, text, _ = await failure(lane, wire, wire.stream(*wire.begin("Hel", "lo")))

    assert type(error) is ResponseParsing
    assert text == "Hello"


async def test_done_is_no_finish_reason(lane: LibraryLane):
    for kind in ("openai", "azure", "mistral"):
        answer = WIRES[kind].stream(*WIRES[kind].begin("Hello"), openai.DONE)
        error, _, _ = await failure(lane, WIRES[kind], answer)
        assert type(error) is ResponseParsing


async def test_every_choice_has_to_finish(lane: LibraryLane):
    second = {"index": 1, "delta": {"content": "b"}, "finish_reason": None}
    wire = WIRES["openai"]
    answer = wire.stream(*wire.begin("a"), openai.chunk(None, choices=[second]), *wire.end())

    with pytest.raises(AssertionError):  # the test can fail: choice 0 alone would be complete
        await failure(lane, wire, wire.stream(*wire.begin("a"), *wire.end()))
    error, _, _ = await failure(lane, wire, answer, n=2)

    assert type(error) is ResponseParsing


@every_wire
async def test_an_error_inside_a_stream_ends_it(lane: LibraryLane, wire: Wire):
    answer = wire.stream(*wire.begin("Hello"), wire.error, *wire.end())

    error, text, _ = await failure(lane, wire, answer)

    assert type(error) is ServerError
    assert error.billable
    assert text == "Hello"


@every_wire
async def test_an_error_as_the_first_event_fails_the_call(lane: LibraryLane, wire: Wire):
    async with Upstream(wire.stream(wire.error)) as upstream:
        with pytest.raises(ServerError) as caught:
            await lane(call(target(wire, upstream.url), stream=True))
    assert not caught.value.billable  # refused before any work


@pytest.mark.parametrize(
    ("kind", "event", "expected"),
    [
        ("anthropic", sse(anthropic.error("overloaded_error", "Overloaded"), "error"), Overloaded),
        ("gemini", sse(gemini.error(429, "RESOURCE_EXHAUSTED", "exhausted")), RateLimited),
        ("bedrock", bedrock.exception("throttlingException", "Too many tokens"), RateLimited),
        ("mistral", sse(openai.error("slow down", "x", "rate_limit_exceeded")), RateLimited),
    ],
)
async def test_an_error_inside_a_stream_keeps_its_class(
    lane: LibraryLane, kind: str, event: bytes, expected: type[UpstreamFailure]
):
    wire = WIRES[kind]
    error, _, _ = await failure(lane, wire, wire.stream(*wire.begin("Hello"), event))
    assert type(error) is expected


@every_wire
async def test_a_broken_line_is_a_failure(lane: LibraryLane, wire: Wire):
    answer = wire.stream(*wire.begin("Hello"), wire.broken, *wire.end())

    error, text, _ = await failure(lane, wire, answer)

    assert type(error) is ResponseParsing
    assert text == "Hello"


@every_wire
async def test_a_cut_after_the_providers_finish_is_no_failure(lane: LibraryLane, wire: Wire):
    gate = asyncio.Event()
    ending = wire.end() if wire.kind in ("anthropic", "bedrock") else wire.end()[:1]
    answer = wire.stream(*wire.begin("Hello"), *ending, gate, Step.CUT)
    async with Upstream(answer) as upstream:
        reply = await lane(call(target(wire, upstream.url, QUICK), stream=True))
        assert isinstance(reply, Stream)
        events = list(await anext(reply))
        asyncio.get_running_loop().call_later(0.05, gate.set)  # all was read by then
        events += [event async for events in reply for event in events]

    reasons = [choice["finish_reason"] for event in events for choice in event.data["choices"]]
    assert reasons[-1] == "stop"


@every_wire
async def test_a_provider_that_says_nothing_runs_into_the_first_event_limit(
    lane: LibraryLane, wire: Wire
):
    error, _, _ = await failure(lane, wire, wire.stream(Step.HANG))

    assert type(error) is UpstreamTimeout
    assert error.status == 504


@every_wire
async def test_a_stream_that_pauses_too_long_runs_into_the_idle_limit(
    lane: LibraryLane, wire: Wire
):
    error, text, _ = await failure(lane, wire, wire.stream(*wire.begin("Hello"), Step.HANG))

    assert type(error) is UpstreamTimeout
    assert text == "Hello"


@both_ways
async def test_an_attempt_ends_with_the_calls_deadline(lane: LibraryLane, stream: bool):
    wire = WIRES["gemini"]
    async with Upstream(wire.stream(Step.HANG)) as upstream:
        with pytest.raises(UpstreamTimeout):
            await lane(call(target(wire, upstream.url), stream=stream, deadline_s=0.2))
        await asyncio.wait_for(upstream.left.wait(), 10)


@every_wire
async def test_an_unstreamed_answer_that_does_not_come_runs_into_the_total_limit(
    lane: LibraryLane, wire: Wire
):
    limits = Limits(total_s=0.2)
    error, _, _ = await failure(lane, wire, Answer((Step.HANG,)), stream=False, limits=limits)

    assert type(error) is UpstreamTimeout


# ------------------------------------------------------------------- answers that lie


@every_wire
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer((b'{"id": "x", "choices": [',), headers={"content-type": "application/json"}), 0),
        (Answer((b"<html>Log in</html>",), headers={"content-type": "text/html"}), 0),
        (Answer((), headers={"content-type": "application/json"}), 0),
        (json_answer({"id": "x"}), 0),
        (Answer((b'{"id"', Step.CUT), headers={"content-type": "application/json"}), 0),
        (json_answer(openai.error("failed", "server_error")), ServerError),
        (Answer((Step.CUT,)), ConnectionFailed),
        (Answer((b"x",), headers={"content-encoding": "gzip"}), 0),
        (Answer((b"x",), 307, {"location": "http://127.0.0.1:1/"}), InvalidConfiguration),
    ],
    ids=["broken", "page", "empty", "other", "cut", "error", "dropped", "packed", "redirect"],
)
async def test_an_answer_that_is_none(lane: LibraryLane, wire: Wire, answer: Answer, expected: Any):
    error, _, upstream = await failure(lane, wire, answer, stream=False)

    assert type(error) is (expected or ResponseParsing)
    assert len(upstream.requests) == 1


async def test_answers_beyond_the_byte_limits_are_not_read(lane: LibraryLane):
    limits = Limits(max_line_bytes=1_000, max_body_bytes=2_000)
    wire = WIRES["openai"]
    many = [part for _ in range(20) for part in wire.begin("x" * 50)]
    for answer, stream in (
        (wire.stream(*wire.begin("x" * 1_000), *wire.end()), True),
        (wire.stream(*many, *wire.end()), True),
        (json_answer(wire.document("x" * 2_000)), False),
    ):
        error, _, _ = await failure(lane, wire, answer, stream=stream, limits=limits)
        assert type(error) is ResponseParsing


async def test_geminis_malformed_tool_call_is_one(lane: LibraryLane):
    wire = WIRES["gemini"]
    body = gemini.answer(finish="MALFORMED_FUNCTION_CALL")
    for stream in (False, True):
        answer = wire.stream(sse(body)) if stream else json_answer(body)
        error, _, _ = await failure(lane, wire, answer, stream=stream)
        assert type(error) is ToolCallInvalid


# ------------------------------------------------------------------ refusals by status


def _body(kind: str, status: int) -> Any:
    message = "The provider's own words."
    bodies = {
        "anthropic": anthropic.error("some_error", message),
        "gemini": gemini.error(status, "SOME_STATUS", message),
        "bedrock": {"message": message},
        "cohere_chat": {"message": message},
    }
    return bodies.get(kind, openai.error(message, "some_error"))


STATUSES: dict[int, tuple[type[UpstreamFailure], int]] = {
    400: (InvalidPrompt, 400),
    401: (ProviderAuthentication, 502),
    402: (QuotaExceeded, 429),
    403: (ProviderPermission, 502),
    404: (UpstreamModelNotFound, 404),
    408: (UpstreamTimeout, 504),
    413: (InvalidPrompt, 400),
    422: (InvalidPrompt, 400),
    429: (RateLimited, 429),
    500: (ServerError, 500),
    502: (ServerError, 502),
    503: (Overloaded, 503),
    504: (UpstreamTimeout, 504),
    529: (Overloaded, 503),
}


@every_wire
@both_ways
async def test_a_status_means_the_same_from_every_provider(
    lane: LibraryLane, wire: Wire, stream: bool
):
    for status, (expected, ours) in STATUSES.items():
        answer = json_answer(_body(wire.kind, status), status, retry_after="7")
        error, _, upstream = await failure(lane, wire, answer, stream=stream)
        assert (status, type(error), error.status) == (status, expected, ours)
        assert len(upstream.requests) == 1
        if expected in (RateLimited, Overloaded):
            assert error.retry_after_s == 7


@pytest.mark.parametrize(
    ("kind", "status", "body", "expected", "code"),
    [
        (
            "openai",
            400,
            openai.error("Too long.", "invalid_request_error", "context_length_exceeded"),
            ContextWindowExceeded,
            "context_length_exceeded",
        ),
        (
            "azure",
            400,
            openai.error("Filtered.", None, "content_filter", "prompt"),
            ContentFiltered,
            "content_filter",
        ),
        (
            "anthropic",
            400,
            anthropic.error("invalid_request_error", "prompt is too long: 2 > 1 maximum"),
            ContextWindowExceeded,
            "context_length_exceeded",
        ),
        (
            "anthropic",
            400,
            anthropic.error("invalid_request_error", "Your credit balance is too low."),
            QuotaExceeded,
            "insufficient_quota",
        ),
        (
            "gemini",
            400,
            gemini.error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid one."),
            ProviderAuthentication,
            "provider_authentication_failed",
        ),
        (
            "bedrock",
            400,
            {"message": "Input is too long for requested model."},
            ContextWindowExceeded,
            "context_length_exceeded",
        ),
        (
            "cohere_chat",
            400,
            {"message": "too many tokens: the total cannot exceed 4081"},
            ContextWindowExceeded,
            "context_length_exceeded",
        ),
        (
            "mistral",
            429,
            openai.error("No more.", "x", "insufficient_quota"),
            QuotaExceeded,
            "insufficient_quota",
        ),
    ],
)
@both_ways
async def test_the_body_refines_the_status(
    lane: LibraryLane,
    kind: str,
    status: int,
    body: Any,
    expected: type[UpstreamFailure],
    code: str,
    stream: bool,
):
    error, _, _ = await failure(lane, WIRES[kind], json_answer(body, status), stream=stream)
    assert (type(error), error.code) == (expected, code)


async def test_a_key_that_the_provider_repeats_is_not_passed_on(lane: LibraryLane):
    said = openai.error(f"Bad value, key {SECRET} at https://internal.example.com/v1", "x")

    error, _, _ = await failure(lane, WIRES["openai"], json_answer(said, 400), stream=False)

    assert SECRET not in error.message
    assert "internal.example" not in error.message
    assert error.message.startswith("Bad value, key ")


# ------------------------------------------------------ requests that are not even sent


async def test_a_parameter_that_the_model_does_not_have_is_named(lane: LibraryLane):
    wire = WIRES["cohere_chat"]
    error, _, upstream = await failure(
        lane, wire, json_answer(cohere.answer()), stream=False, logit_bias={"1": 2}
    )

    assert type(error) is InvalidPrompt
    assert (error.param, error.code) == ("logit_bias", "unsupported_parameter")
    assert "'logit_bias'" in error.message
    assert "drop_params" not in error.message
    assert upstream.requests == []


async def test_a_remote_image_is_refused_where_litellm_would_fetch_it(lane: LibraryLane):
    image = {"type": "image_url", "image_url": {"url": "https://images.example.com/cat.png"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    wire = WIRES["bedrock"]

    for stream in (False, True):
        error, _, upstream = await failure(
            lane, wire, json_answer(bedrock.answer("A cat.")), stream=stream, messages=messages
        )
        assert type(error) is InvalidPrompt
        assert "data: URL" in error.message
        assert upstream.requests == []


@both_ways
async def test_a_provider_that_cannot_be_reached_is_a_connection_failure(
    lane: LibraryLane, stream: bool
):
    async with Upstream(Answer()) as upstream:
        url = upstream.url
    for wire in WIRES.values():
        with pytest.raises(ConnectionFailed) as caught:
            await lane(call(target(wire, url, QUICK), stream=stream))
        assert not caught.value.billable
        assert url not in caught.value.message
        assert orjson.dumps(caught.value.body())
