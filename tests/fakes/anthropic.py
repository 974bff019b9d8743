"""Anthropic's wire format: `POST /v1/messages`."""

from __future__ import annotations

from typing import Any

from tests.fakes.upstream import sse

JSON = dict[str, Any]

MODEL = "claude-sonnet-4-5-20250929"
USAGE: JSON = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 12,
    "output_tokens": 10,
}


def message(*content: JSON | str, stop: str = "end_turn", **more: Any) -> JSON:
    blocks = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
        **more,
    }


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def start() -> bytes:
    begun = message(stop_reason=None, usage={**USAGE, "output_tokens": 1})
    return _event("message_start", message=begun)


def block(index: int, block: JSON, *deltas: JSON) -> list[bytes]:
    return [
        _event("content_block_start", index=index, content_block=block),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


def text(index: int, *texts: str) -> list[bytes]:
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    return block(index, {"type": "text", "text": ""}, *deltas)


def thinking(index: int, *texts: str) -> list[bytes]:
    deltas: list[JSON] = [{"type": "thinking_delta", "thinking": text} for text in texts]
    signed: JSON = {"type": "signature_delta", "signature": "sig=="}
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas, signed)


def tool_use(index: int, ident: str, name: str, *parts: str) -> list[bytes]:
    begun = {"type": "tool_use", "id": ident, "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return block(index, begun, *deltas)


def end(stop: str = "end_turn") -> list[bytes]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return [
        _event("message_delta", delta=delta, usage={"output_tokens": 10}),
        _event("message_stop"),
    ]


def error(kind: str, message: str) -> JSON:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
