"""Chunks: litellm's objects as OpenAI's JSON.

litellm's models carry fields that OpenAI's do not have (empty lists of provider details, a price
of its own) and nulls that OpenAI leaves out. What OpenAI's format has stays, the provider's own
additions (`reasoning_content`, `thinking_blocks`, `provider_specific_fields`) too, if not empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

JSON = dict[str, Any]

# litellm's own arithmetic; ours is in the ledger.
_NOT_THEIRS = ("cost",)


def chunk_json(chunk: Any) -> JSON:
    """One chunk of a stream, with `finish_reason: null` where OpenAI has it, and without usage."""
    data = _filled(chunk.model_dump())
    data.pop("usage", None)
    for choice in data.setdefault("choices", []):
        choice["delta"] = _slim(choice.get("delta") or {})
        choice.setdefault("finish_reason", None)
        _tidy(choice)
    return data


def completion_json(response: Any) -> JSON:
    """An unstreamed answer, with `content: null` where OpenAI has it."""
    data = _filled(response.model_dump())
    for choice in data.setdefault("choices", []):
        choice["message"] = {"content": None, **_slim(choice.get("message") or {})}
        _tidy(choice)
    return data


def usage_json(counts: Iterable[Any]) -> JSON:
    """One usage object out of all that a stream carried: later counts replace earlier ones."""
    merged: JSON = {}
    for count in counts:
        dumped = count.model_dump(exclude_none=True)
        merged |= {name: value for name, value in dumped.items() if value}
    merged = {name: value for name, value in merged.items() if name not in _NOT_THEIRS}
    for name in ("prompt_tokens", "completion_tokens"):
        merged.setdefault(name, 0)
    merged["total_tokens"] = merged["prompt_tokens"] + merged["completion_tokens"]
    return merged


def _filled(data: Mapping[str, Any]) -> JSON:
    """Without nulls and empty extras."""
    return {name: value for name, value in data.items() if not _is_nothing(value)}


def _is_nothing(value: object) -> bool:
    return value is None or value == [] or value == {}


def _tidy(choice: JSON) -> None:
    for name in ("logprobs", "enhancements", "provider_specific_fields"):
        if name in choice and _is_nothing(choice[name]):
            del choice[name]


def _slim(message: Mapping[str, Any]) -> JSON:
    """A message or delta without nulls and empty extras, in itself and in its tool calls."""
    slim = _filled(message)
    if own := slim.pop("provider_specific_fields", None):
        own = _filled(own)
        if refusal := own.pop("refusal", None):  # OpenAI's own field, which litellm moves away
            slim["refusal"] = refusal
        if own:
            slim["provider_specific_fields"] = own
    if calls := slim.get("tool_calls"):
        slim["tool_calls"] = [_call(call) for call in calls]
    return slim


def _call(call: Mapping[str, Any]) -> JSON:
    slim = _filled(call)
    if function := slim.get("function"):
        slim["function"] = {name: part for name, part in function.items() if part is not None}
    return slim
