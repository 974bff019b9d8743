"""Gemini's wire format: `POST /models/{model}:generateContent` and `:streamGenerateContent`."""

from __future__ import annotations

from typing import Any

from tests.fakes.upstream import sse

JSON = dict[str, Any]

MODEL = "gemini-2.5-flash"
USAGE: JSON = {
    "promptTokenCount": 22,
    "candidatesTokenCount": 6,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 32,
    "cachedContentTokenCount": 12,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 22}],
}


def answer(*parts: JSON | str, finish: str | None = "STOP", usage: JSON | None = USAGE) -> JSON:
    content = {"role": "model", "parts": [{"text": p} if isinstance(p, str) else p for p in parts]}
    candidate: JSON = {"content": content, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    body: JSON = {"candidates": [candidate], "modelVersion": MODEL, "responseId": "resp-1"}
    return {**body, "usageMetadata": usage} if usage is not None else body


def chunks(*parts: JSON | str, usage: JSON | None = USAGE) -> list[bytes]:
    """The beginning of a stream, without its end."""
    return [sse(answer(part, finish=None, usage=usage)) for part in parts]


def end(*parts: JSON | str, finish: str = "STOP", usage: JSON | None = USAGE) -> list[bytes]:
    return [sse(answer(*parts, finish=finish, usage=usage))]


def error(code: int, status: str, message: str, *details: JSON) -> JSON:
    body: JSON = {"code": code, "message": message, "status": status}
    return {"error": {**body, "details": list(details)} if details else body}
