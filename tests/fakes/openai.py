"""OpenAI's wire format: `POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Any

from tests.fakes.upstream import sse

JSON = dict[str, Any]

USAGE: JSON = {
    "prompt_tokens": 22,
    "completion_tokens": 10,
    "total_tokens": 32,
    "prompt_tokens_details": {"cached_tokens": 12, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
}
HEAD: JSON = {"id": "chatcmpl-1", "created": 1741569952, "model": "gpt-4o-2024-08-06"}
DONE = b"data: [DONE]\n\n"


def completion(message: JSON | str = "Hello!", finish: str = "stop", **more: Any) -> JSON:
    if isinstance(message, str):
        message = {"role": "assistant", "content": message}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


def chunk(delta: JSON | None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    choices = [] if delta is None else [choice]
    return sse({**HEAD, "object": "chat.completion.chunk", "choices": choices, **more})


def chunks(*texts: str) -> list[bytes]:
    """The beginning of a stream, without its end."""
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": t}) for t in texts)]


def end(finish: str = "stop") -> list[bytes]:
    return [chunk({}, finish), chunk(None, usage=USAGE), DONE]


def error(
    message: str, kind: str | None, code: str | None = None, param: str | None = None
) -> JSON:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
