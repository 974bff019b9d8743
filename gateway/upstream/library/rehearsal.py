"""Rehearsal: litellm's first call of each kind, before anyone waits for it.

A first call imports modules, builds clients and compiles patterns: half a second in which the
loop stands still. The rehearsal goes through all of it with an answer of our own in the place of
the provider's: no network is touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any
from zlib import crc32

import httpx
import orjson

from gateway.errors import UpstreamFailure
from gateway.exchange import Call
from gateway.targets import Credential, Model, Provider, Target
from gateway.trace import Trace
from gateway.upstream.library import engine
from gateway.upstream.library.attempt import Attempt
from gateway.upstream.library.fields import arguments

JSON = dict[str, Any]

_SECRETS = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal"}
_OPTIONS: dict[str, JSON] = {
    "azure": {"api_version": "2024-10-21"},
    "bedrock": {**_SECRETS, "aws_region_name": "us-east-1"},
}
_MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "cohere_chat": "command-r-plus",
    "gemini": "gemini-2.5-flash",
}

_OPENAI: JSON = {
    "id": "rehearsal",
    "object": "chat.completion",
    "created": 1,
    "model": "rehearsal",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "!"},
            "delta": {"role": "assistant", "content": "!"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
_ANTHROPIC: JSON = {
    "id": "rehearsal",
    "type": "message",
    "role": "assistant",
    "model": "rehearsal",
    "content": [{"type": "text", "text": "!"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
_ANTHROPIC_EVENTS: tuple[JSON, ...] = (
    {"type": "message_start", "message": {**_ANTHROPIC, "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
)
_GEMINI: JSON = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "!"}]}, "finishReason": "STOP", "index": 0}
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}
_BEDROCK: JSON = {
    "output": {"message": {"role": "assistant", "content": [{"text": "!"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}
_BEDROCK_EVENTS: tuple[tuple[str, JSON], ...] = (
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "!"}}),
    ("messageStop", {"stopReason": "end_turn"}),
)
_ANSWERS: dict[str, tuple[JSON, tuple[JSON, ...]]] = {
    "anthropic": (_ANTHROPIC, _ANTHROPIC_EVENTS),
    "bedrock": (_BEDROCK, ()),
    "gemini": (_GEMINI, (_GEMINI,)),
}


async def rehearse(kind: str) -> None:
    """Call a provider of this kind twice, unstreamed and streamed, without calling anyone."""
    model = Model(name=_MODELS.get(kind, "gpt-4o"))
    # A name that no resolver knows: should litellm ever go round our transport, nothing is sent.
    base_url = "https://rehearsal.invalid/v1"
    options = _OPTIONS.get(kind, {})
    secret = "" if kind == "bedrock" else "rehearsal"  # with one, Bedrock would not sign
    provider = Provider(name=kind, kind=kind, lane="library", base_url=base_url, options=options)
    target = Target(provider=provider, model=model, credential=Credential("rehearsal", secret))
    for stream in (False, True):
        given = arguments(_call(stream), target, openai_wire=engine.speaks_openai(kind))
        with suppress(UpstreamFailure):  # a kind whose format is not among the answers
            await asyncio.create_task(_make(given, Attempt(target, _canned(kind, stream)), stream))


async def _make(given: JSON, attempt: Attempt, stream: bool) -> None:
    if stream:
        async for _ in engine.events(given, attempt):
            pass
    else:
        await engine.complete(given, attempt)


def _call(stream: bool) -> Call:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    body = {"messages": [{"role": "user", "content": "!"}], "stream": stream, "tools": [tool]}
    deadline = time.monotonic() + 60
    return Call(id="rehearsal", body=body, received_at=0.0, deadline=deadline, trace=Trace())


def _canned(kind: str, stream: bool) -> httpx.Response:
    if kind == "bedrock":
        frames = [_frame(name, body) for name, body in _BEDROCK_EVENTS]
        return (
            _streamed(frames, "application/vnd.amazon.eventstream") if stream else _json(_BEDROCK)
        )
    document, events = _ANSWERS.get(kind, (_OPENAI, (_OPENAI,)))
    if not stream:
        return _json(document)
    parts = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events]
    return _streamed(parts, "text/event-stream")


def _json(document: JSON) -> httpx.Response:
    return _streamed([orjson.dumps(document)], "application/json")


def _streamed(parts: Iterable[bytes], content_type: str) -> httpx.Response:
    async def blocks() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return httpx.Response(200, headers={"content-type": content_type}, content=blocks())


def _frame(kind: str, body: JSON) -> bytes:
    """An AWS event: length, headers' length, checksum, headers, payload, checksum."""
    pairs = {b":event-type": kind.encode(), b":message-type": b"event"}
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2) + value
        for name, value in pairs.items()
    )
    payload = orjson.dumps(body)
    lengths = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    frame = lengths + crc32(lengths).to_bytes(4) + headers + payload
    return frame + crc32(frame).to_bytes(4)
