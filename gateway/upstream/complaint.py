"""Complaints: what does a provider's error body say, whatever its shape?

OpenAI    {"error": {"message", "type", "param", "code"}}      vLLM, Mistral: the same, unwrapped
Anthropic {"type": "error", "error": {"type", "message"}}
Gemini    {"error": {"code": 400, "status": "INVALID_…", "message", "details": […]}}, or in a list
Azure     OpenAI's with "innererror": {"code"}; its front: {"statusCode", "message"}
Bedrock   {"message"} or {"Message"}, and the class in `x-amzn-errortype` or "__type"
Cohere    {"message"}; xAI {"code", "error": "text"}; Ollama {"error": "text"}
FastAPI   {"detail": "text"} or {"detail": [{"loc": […], "msg"}]}: Mistral's 422, vLLM's 404
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

_SLUG = re.compile(r"[A-Za-z][\w.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What the provider said. `code` is the most telling name; `names` are all of them, folded.

    `status` is the HTTP status that the body itself states, as in-band errors do.
    """

    message: str = ""
    code: str | None = None
    param: str | None = None
    status: int | None = None
    names: frozenset[str] = frozenset()
    details: Sequence[Mapping[str, Any]] = ()


def fold(name: str) -> str:
    """One spelling for `RateLimitError`, `rate_limit_error` and `RATE_LIMIT_ERROR`."""
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()


def complaint(headers: Mapping[str, str], body: bytes | Mapping[str, Any] | None) -> Complaint:
    """Read an error answer. Never raises: what can't be read says nothing."""
    parsed = _parsed(body)
    if isinstance(parsed, str):
        return Complaint(message=parsed, names=_names(_aws_class(headers)))
    error = _error(parsed)
    inner = error.get("innererror") or error.get("inner_error")
    inner_code = inner.get("code") if isinstance(inner, Mapping) else None
    aws = _aws_class(headers) or _aws_type(parsed.get("__type"))
    details = tuple(part for part in _list(error.get("details")) if isinstance(part, Mapping))
    reasons = [part.get("reason") for part in details]
    said = (error.get("code"), error.get("type"), error.get("status"), error.get("error_type"))
    code = error.get("code")
    return Complaint(
        message=_message(error),
        code=code if isinstance(code, str) and _SLUG.fullmatch(code) else None,
        param=_param(error),
        status=_status(error.get("code"), error.get("status_code"), parsed.get("statusCode")),
        names=_names(*said, inner_code, aws, *reasons),
        details=details,
    )


def _parsed(body: bytes | Mapping[str, Any] | None) -> Mapping[str, Any] | str:
    if body is None or isinstance(body, Mapping):
        return body or {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[:4_000].decode("utf-8", "replace").strip()
        # A proxy's page tells a client nothing, and neither does half a document.
        return {} if text.startswith(("<", "{", "[")) else text
    if isinstance(parsed, list) and parsed:  # Gemini without `alt=sse`
        parsed = parsed[0]
    if isinstance(parsed, Mapping):
        return parsed
    return parsed if isinstance(parsed, str) else {}


def _error(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object that holds the complaint."""
    error = parsed.get("error")
    if isinstance(error, Mapping):
        return error
    if isinstance(error, str):
        return {**parsed, "message": error}
    message = parsed.get("message")
    if isinstance(message, Mapping):  # Mistral: {"message": {"detail": […]}}
        return {**parsed, **message}
    return parsed


def _message(error: Mapping[str, Any]) -> str:
    for name in ("message", "Message", "detail", "error"):
        said = error.get(name)
        if isinstance(said, str):
            return said
    parts = [part for part in _list(error.get("detail")) if isinstance(part, Mapping)]
    return "; ".join(f"{_place(part)}: {part.get('msg')}" for part in parts[:3])


def _param(error: Mapping[str, Any]) -> str | None:
    param = error.get("param")
    if isinstance(param, str):
        return param[:128]
    parts = [part for part in _list(error.get("detail")) if isinstance(part, Mapping)]
    return _place(parts[0])[:128] if parts else None


def _place(part: Mapping[str, Any]) -> str:
    return ".".join(str(step) for step in _list(part.get("loc")) if step != "body")


def _status(*candidates: object) -> int | None:
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.isdecimal() and len(candidate) == 3:
            candidate = int(candidate)
        if isinstance(candidate, int) and 400 <= candidate <= 599:
            return candidate
    return None


def _aws_class(headers: Mapping[str, str]) -> str | None:
    """`ValidationException:http://…` → `ValidationException`."""
    for name, value in headers.items():
        if name.lower() == "x-amzn-errortype":
            return value.split(":", 1)[0]
    return None


def _aws_type(value: object) -> str | None:
    return value.rsplit("#", 1)[-1] if isinstance(value, str) else None


def _names(*said: object) -> frozenset[str]:
    return frozenset(fold(name) for name in said if isinstance(name, str) and name)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
