"""What the provider really sent, read from its bytes alone: no litellm here."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.upstream.library.evidence import Evidence
from tests.fakes import anthropic, bedrock, cohere, gemini, openai
from tests.fakes.upstream import sse

SSE = "text/event-stream; charset=utf-8"
FRAMES = "application/vnd.amazon.eventstream"
LINES = "application/x-ndjson"


def gathered(
    content_type: str, *blocks: bytes, line: int = 10_000, body: int = 100_000
) -> Evidence:
    evidence = Evidence(content_type, line, body)
    for block in blocks:
        if evidence.feed(block) < len(block):
            return evidence
    evidence.close()
    return evidence


BEGUN: dict[str, tuple[str, list[bytes]]] = {
    "openai": (SSE, openai.chunks("a")),
    "anthropic": (SSE, [anthropic.start(), *anthropic.text(0, "a")]),
    "gemini": (SSE, gemini.chunks("a", usage=None)),
    "cohere": (SSE, [cohere.start(), *cohere.text("a")]),
    "bedrock": (FRAMES, [bedrock.start(), *bedrock.text(0, "a")]),
    "ollama": (LINES, [b'{"message": {"content": "a"}, "done": false}\n']),
    "responses": (SSE, [sse({"type": "response.output_text.delta", "delta": "a"})]),
}
ENDED: dict[str, list[bytes]] = {
    "openai": openai.end(),
    "anthropic": anthropic.end(),
    "gemini": gemini.end(""),
    "cohere": cohere.end(),
    "bedrock": bedrock.end(),
    "ollama": [b'{"done": true, "prompt_eval_count": 3}\n'],
    "responses": [sse({"type": "response.completed", "response": {"usage": {"input_tokens": 1}}})],
}
every_format = pytest.mark.parametrize("name", BEGUN)


@every_format
def test_an_end_is_known_by_the_providers_word(name: str):
    content_type, begun = BEGUN[name]

    unfinished = gathered(content_type, *begun)
    finished = gathered(content_type, *begun, *ENDED[name])

    assert (unfinished.recognised, unfinished.finished) == (True, False)
    assert (finished.recognised, finished.finished, finished.counted) == (True, True, True)
    assert finished.wrong is unfinished.wrong is None


@every_format
def test_blocks_may_end_anywhere(name: str):
    content_type, begun = BEGUN[name]
    whole = b"".join([*begun, *ENDED[name]])
    for size in (1, 2, 7, len(whole)):
        blocks = [whole[at : at + size] for at in range(0, len(whole), size)]
        evidence = gathered(content_type, *blocks)
        assert (evidence.finished, evidence.counted, evidence.wrong) == (True, True, None)


@pytest.mark.parametrize(
    ("event", "wrong"),
    [
        (sse({"error": {"message": "m"}}), {"error": {"message": "m"}}),
        (sse({"error": "m"}), {"error": "m"}),
        (sse(anthropic.error("t", "m")), anthropic.error("t", "m")),
        (b"data: {oops\n\n", "unreadable"),
        (b"data: oops\n\n", "unreadable"),
        (openai.chunk({}, "error"), {"error": {"type": "server_error"}}),
        (sse({"choices": [{"finish_reason": "error", "error": {"code": 502}}]}), None),
        (sse({"type": "response.failed", "response": {"error": {"code": "x"}}}), None),
        (sse(gemini.answer(finish="MALFORMED_FUNCTION_CALL")), "tool call"),
    ],
)
def test_a_fault_stops_the_reading_where_it_stands(event: bytes, wrong: Any):
    evidence = Evidence(SSE, 10_000, 100_000)
    before = b"".join(openai.chunks("a"))

    read = evidence.feed(before + event + openai.DONE)

    assert evidence.wrong is not None
    assert evidence.wrong == wrong or wrong is None
    assert read >= len(before)
    assert not (before + event)[read:].startswith(openai.DONE)


def test_an_exception_frame_is_a_fault():
    begun = b"".join(BEGUN["bedrock"][1])
    evidence = Evidence(FRAMES, 10_000, 100_000)

    read = evidence.feed(begun + bedrock.exception("throttlingException", "m"))

    assert read == len(begun)
    assert evidence.wrong == {"__type": "throttlingException", "message": "m"}


def test_words_in_the_text_are_not_taken_for_the_format():
    text = '{"error": 1, "finish_reason": "stop"} data: [DONE] \x07\x00 :event-type messageStop'
    for name, parts in {
        "openai": openai.chunks(text),
        "gemini": gemini.chunks(text, usage=None),
    }.items():
        evidence = gathered(BEGUN[name][0], *parts)
        assert (evidence.finished, evidence.counted, evidence.wrong) == (False, False, None)
    frames = gathered(FRAMES, bedrock.start(), *bedrock.text(0, text))
    assert (frames.finished, frames.wrong) == (False, None)


def test_an_event_may_spread_one_document_over_several_lines():
    pretty = orjson.dumps(openai.completion(), option=orjson.OPT_INDENT_2)
    event = b"".join(b"data: " + line + b"\n" for line in pretty.split(b"\n")) + b"\n"

    evidence = gathered(SSE, event)

    assert (evidence.finished, evidence.wrong) == (True, None)


def test_a_document_is_read_when_it_is_complete():
    body = orjson.dumps(openai.completion())
    evidence = gathered("application/json", body[:10], body[10:])
    assert (evidence.reasons, evidence.counted) == ({0: "stop"}, True)


@pytest.mark.parametrize("body", [b"", b"{", b'{"choices": [', b"<html>"])
def test_a_document_that_is_none_is_a_fault(body: bytes):
    assert gathered("application/json", body).wrong == "unreadable"


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (openai.completion(), True),
        (openai.completion(usage=None), False),
        (anthropic.message("a"), True),
        (anthropic.message("a", usage={}), False),
        (gemini.answer("a"), True),
        (gemini.answer("a", usage=None), False),
        (bedrock.answer("a"), True),
        (bedrock.answer("a", usage=None), False),
        (cohere.answer(), True),
    ],
)
def test_usage_counts_only_where_the_provider_sent_it(body: Any, counted: bool):
    assert gathered("application/json", orjson.dumps(body)).counted is counted


def test_a_blocked_prompt_is_an_end():
    evidence = gathered(SSE, sse({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert evidence.finished


@pytest.mark.parametrize(
    ("content_type", "blocks"),
    [
        (SSE, [b"data: " + b"x" * 2_000]),
        (SSE, [b"data: " + b"x" * 900, b"x" * 900]),
        (SSE, [b": ping\n\n" * 200] * 2),
        (FRAMES, [b"\x7f\xff\xff\xff" + b"\x00" * 16]),
        ("application/json", [b"x" * 2_000]),
    ],
)
def test_what_is_too_large_is_not_kept(content_type: str, blocks: list[bytes]):
    evidence = gathered(content_type, *blocks, line=1_000, body=2_000 - 1)
    assert evidence.wrong == "too large"


def test_a_frame_of_no_length_is_unreadable():
    assert gathered(FRAMES, b"\x00" * 16).wrong == "unreadable"


def test_half_a_frame_at_the_end_is_unreadable():
    assert gathered(FRAMES, bedrock.start()[:-3]).wrong == "unreadable"


@pytest.mark.parametrize(
    "data", [1, None, [], {"choices": [1]}, {"candidates": [1]}, {"type": 3}, {"delta": 3}]
)
def test_odd_types_do_not_raise(data: Any):
    gathered(SSE, sse(data), sse({"type": "message_delta", "delta": data}))


def test_every_begun_choice_has_to_finish():
    def chunk(index: int, reason: str | None) -> bytes:
        choice = {"index": index, "delta": {"content": "a"}, "finish_reason": reason}
        return openai.chunk(None, choices=[choice])

    assert not gathered(SSE, chunk(0, None), chunk(1, None), chunk(0, "stop")).finished
    both = gathered(SSE, chunk(0, None), chunk(1, None), chunk(0, "stop"), chunk(1, "length"))
    assert both.finished
    assert both.reasons == {0: "stop", 1: "length"}
