"""Conversions: how does a streamed answer become an unstreamed one, and the reverse?

Pieces are joined as OpenAI's clients join them: texts are appended, lists of indexed pieces are
joined by index, other lists are extended, and of names and everything else the last word counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.exchange import JSON, Event, Events
from gateway.usage import Usage

_CHUNK, _COMPLETION = "chat.completion.chunk", "chat.completion"
_NAMES = frozenset({"role", "id", "type", "name", "index", "format", "finish_reason"})
_OF_CHOICE = frozenset({"index", "delta", "message", "finish_reason"})


def assembled(chunks: Iterable[JSON]) -> JSON:
    """The completion that a whole stream comes to."""
    head: JSON = {}
    choices: dict[int, JSON] = {}
    for chunk in chunks:
        head |= {k: v for k, v in chunk.items() if k != "choices" and v is not None}
        for piece in chunk.get("choices") or ():
            _add_choice(choices.setdefault(piece.get("index") or 0, {}), piece)
    usage = {"usage": head.pop("usage")} if "usage" in head else {}
    for choice in choices.values():
        _put_in_order(choice["message"].get("tool_calls") or [])
    ordered = [choices[index] for index in sorted(choices)]
    return {**head, "object": _COMPLETION, "choices": ordered, **usage}


def exploded(completion: JSON, usage: Usage | None) -> Events:
    """A stream that says what the completion does: its messages, their ends, and the usage."""
    head = {k: v for k, v in completion.items() if k not in ("choices", "usage")}
    head["object"] = _CHUNK
    events = []
    for choice in completion["choices"]:
        index = choice.get("index") or 0
        rest = {k: v for k, v in choice.items() if k not in _OF_CHOICE}
        begun = {"index": index, "delta": _delta(choice["message"]), **rest, "finish_reason": None}
        ended = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
        events += [Event({**head, "choices": [begun]}), Event({**head, "choices": [ended]})]
    if completion.get("usage"):
        last = {**head, "choices": [], "usage": completion["usage"]}
        events.append(Event(last, None, usage))
    return events


def _delta(message: JSON) -> JSON:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]}


def _add_choice(choice: JSON, piece: JSON) -> None:
    choice.setdefault("index", piece.get("index") or 0)
    message = choice.setdefault("message", {"role": "assistant", "content": None})
    _join(message, piece.get("delta") or {})
    _join(choice, {k: v for k, v in piece.items() if k not in ("index", "delta")})
    choice.setdefault("finish_reason", None)


def _put_in_order(calls: list[JSON]) -> None:
    """By their indices, which an unstreamed answer does not have."""
    calls.sort(key=lambda call: call.get("index") or 0)
    for call in calls:
        call.pop("index", None)


def _join(into: JSON, piece: JSON) -> None:
    for name, value in piece.items():
        into[name] = _joined(name, into.get(name), value)


def _joined(name: str, old: Any, new: Any) -> Any:
    if new is None:
        return old
    if isinstance(new, list):
        return _joined_lists(old or [], new)
    if isinstance(new, dict):
        both = dict(old or {})
        _join(both, new)
        return both
    if isinstance(new, str) and isinstance(old, str) and name not in _NAMES:
        return old + new
    # A later piece of a tool call may repeat its name as an empty text.
    return new if new != "" or old is None else old


def _joined_lists(old: list[Any], pieces: list[Any]) -> list[Any]:
    joined = list(old)
    for piece in pieces:
        if not isinstance(piece, dict):
            joined.append(piece)
            continue
        begun = _with_index(joined, piece.get("index"))
        if begun is None:
            joined.append(begun := {})
        _join(begun, piece)
    return joined


def _with_index(items: list[Any], index: object) -> JSON | None:
    """What was begun under this index: not its place, as not everybody counts from 0."""
    if index is None:
        return None
    same = (item for item in reversed(items) if isinstance(item, dict))
    return next((item for item in same if item.get("index") == index), None)
