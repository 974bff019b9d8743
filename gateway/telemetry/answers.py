"""Answers: what did a provider say of its answer, and (if asked for) what was in it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.exchange import JSON, Completion, Events, Reply
from gateway.trace import Fact

_LONGEST = 200


class Answer:
    """What one attempt was answered. `messages` by the index of their choice, if kept at all."""

    def __init__(self, *, content: bool) -> None:
        self.id: str | None = None
        self.model: str | None = None
        self.finish_reasons: dict[int, str] = {}
        self.messages: dict[int, JSON] = {}
        self._content = content

    def watch(self, reply: Reply) -> None:
        """Look at an answer, or at all of its events as they pass."""
        if isinstance(reply, Completion):
            self._see(reply.data, "message")
        else:
            reply.through(self._pass)

    def _pass(self, events: Events) -> Events:
        for event in events:
            self._see(event.data, "delta")
        return events

    def _see(self, data: JSON, part: str) -> None:
        if self.id is None:
            self.id, self.model = _word(data.get("id")), _word(data.get("model"))
        choices = data.get("choices")
        for choice in choices if isinstance(choices, Sequence) else ():
            index = _place(choice, 0)
            if reason := _word(choice.get("finish_reason")):
                self.finish_reasons[index] = reason
            if self._content and isinstance(said := choice.get(part), dict):
                _add(self.messages.setdefault(index, {}), said)


@dataclass(frozen=True, slots=True)
class Observed(Fact):
    """What an attempt was asked and answered. Of its content nothing is ever described."""

    number: int
    body: JSON = field(repr=False)
    answer: Answer = field(repr=False)

    def describe(self) -> JSON:
        return {"fact": "observed", "number": self.number, "model": self.answer.model}


def _word(value: Any) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) else None


def _place(item: JSON, otherwise: int) -> int:
    """Its index. Servers say all sorts of things, and nothing of it is a reason to fail a call."""
    index = item.get("index")
    return index if isinstance(index, int) else otherwise


def _add(message: JSON, said: JSON) -> None:
    """A message, or the next piece of one."""
    for name in ("content", "refusal"):
        if isinstance(text := said.get(name), str):
            message[name] = (message.get(name) or "") + text
    for position, call in enumerate(said.get("tool_calls") or ()):
        calls: dict[int, JSON] = message.setdefault("tool_calls", {})
        known = calls.setdefault(_place(call, position), {"arguments": ""})
        known["id"] = call.get("id") or known.get("id")
        function = call.get("function") or {}
        known["name"] = function.get("name") or known.get("name")
        given = function.get("arguments") or ""
        known["arguments"] += given if isinstance(given, str) else orjson.dumps(given).decode()
