"""Cohere's wire format, version 2: `POST /v2/chat`."""

from __future__ import annotations

from typing import Any

from tests.fakes.upstream import sse

JSON = dict[str, Any]

USAGE: JSON = {
    "billed_units": {"input_tokens": 20, "output_tokens": 10},
    "tokens": {"input_tokens": 22, "output_tokens": 10},
}


def answer(text: str = "Hello!", finish: str = "COMPLETE", **message: Any) -> JSON:
    content = [{"type": "text", "text": text}]
    return {
        "id": "c14c80c3",
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish,
        "usage": USAGE,
    }


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def start() -> bytes:
    begun = {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}}
    return _event("message-start", id="29f14a5a", delta=begun)


def text(*texts: str) -> list[bytes]:
    begun = {"message": {"content": {"type": "text", "text": ""}}}
    deltas = [{"message": {"content": {"text": text}}} for text in texts]
    return [
        _event("content-start", index=0, delta=begun),
        *(_event("content-delta", index=0, delta=delta) for delta in deltas),
        _event("content-end", index=0),
    ]


def tool_use(index: int, ident: str, name: str, *parts: str) -> list[bytes]:
    function = {"name": name, "arguments": ""}
    call = {"id": ident, "type": "function", "function": function}
    deltas = [{"message": {"tool_calls": {"function": {"arguments": part}}}} for part in parts]
    return [
        _event("tool-call-start", index=index, delta={"message": {"tool_calls": call}}),
        *(_event("tool-call-delta", index=index, delta=delta) for delta in deltas),
        _event("tool-call-end", index=index),
    ]


def end(finish: str = "COMPLETE") -> list[bytes]:
    return [
        _event("message-end", delta={"finish_reason": finish, "usage": USAGE}),
        b"data: [DONE]\n\n",
    ]
