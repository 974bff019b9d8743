"""Chat completion chunks: is this a well-formed stream, and has it really finished?

A stream is whole when every choice that it began has a finish reason. Anything else (a cut, a
clean end without a finish reason, a broken line, an error in the stream) is a failure, whatever
the connection says: it must never look like `stop`.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import ResponseParsing, ToolCallInvalid
from gateway.exchange import JSON, Completion, Event, Events
from gateway.targets import Target
from gateway.upstream.failures import failure_from_event
from gateway.usage import usage_from_openai
from gateway.wire.sse import DONE, Frame, LineTooLong, Splitter

TRUNCATED = "The provider's answer was cut off before it was finished."
UNPARSABLE = "The provider's answer could not be parsed."
TOO_LARGE = "The provider's answer exceeds the configured size limit."


class ChunkReader:
    """Bytes of an OpenAI-format stream in, events out. One per stream.

    Raises `UpstreamFailure` at the first thing that is wrong; what came before it in the same
    bytes is in `pending` and is still good.
    """

    __slots__ = ("_id", "_open", "_splitter", "_target", "done", "pending")

    def __init__(self, target: Target) -> None:
        self._target = target
        self._splitter = Splitter(target.provider.limits.max_line_bytes)
        self._open: dict[int, bool] = {}
        self._id: object = None
        self.done = False
        self.pending: Events = []

    @property
    def finished(self) -> bool:
        """Has every choice that began a finish reason?"""
        return bool(self._open) and not any(self._open.values())

    def feed(self, data: bytes) -> Events:
        """The events that `data` completes."""
        self.pending = []
        try:
            frames = self._splitter.feed(data)
        except LineTooLong as error:
            raise ResponseParsing(TOO_LARGE) from error
        return self._events(frames)

    def end(self) -> Events:
        """The connection is at its end: the last events. Raises if the stream is not whole."""
        self.pending = []
        events = self._events(self._splitter.end())
        if not self.finished:
            raise ResponseParsing(TRUNCATED)
        return events

    def _events(self, frames: list[Frame]) -> Events:
        events = self.pending
        for frame in frames:
            if self.done:
                break
            if frame.data == DONE:
                self.done = True
                if not self.finished:
                    raise ResponseParsing(TRUNCATED)
            else:
                events.append(self._event(frame))
        return events

    def _event(self, frame: Frame) -> Event:
        try:
            data = orjson.loads(frame.data)
        except orjson.JSONDecodeError as error:
            raise ResponseParsing(UNPARSABLE) from error
        if not isinstance(data, dict):
            raise ResponseParsing(UNPARSABLE)
        if data.get("error") or frame.name == b"error":
            raise failure_from_event(data, self._target, started=bool(self._open))
        choices = data.get("choices") or []
        if not isinstance(choices, list):
            raise ResponseParsing(UNPARSABLE)
        for choice in choices:
            self._see(choice)
        usage = data.get("usage")
        event = Event(
            data, frame.raw, usage_from_openai(usage, data.get("service_tier")) if usage else None
        )
        return self._with_one_id(event)

    def _see(self, choice: Any) -> None:
        if not isinstance(choice, dict) or not isinstance(choice.get("delta", {}), dict | None):
            raise ResponseParsing(UNPARSABLE)
        delta = choice.get("delta")
        if delta and (calls := delta.get("tool_calls")):
            check_tool_calls(calls, whole=False)
        index = choice.get("index") or 0
        if not isinstance(index, int):
            raise ResponseParsing(UNPARSABLE)
        if choice.get("finish_reason"):
            self._open[index] = False
        else:
            self._open.setdefault(index, True)

    def _with_one_id(self, event: Event) -> Event:
        """All chunks of a stream share one id; some servers forget it on the later ones."""
        chunk_id = event.data.get("id")
        if chunk_id == self._id:
            return event
        if self._id is None and chunk_id:
            self._id = chunk_id
            return event
        if self._id is None:
            return event
        return event.with_data({**event.data, "id": self._id})


def check_tool_calls(calls: Any, *, whole: bool) -> None:
    """Raise `ToolCallInvalid` unless `calls` is a list of tool calls, or of pieces of such."""
    if not isinstance(calls, list):
        raise ToolCallInvalid("The provider sent tool calls that are not a list.")
    for item in calls:
        if not isinstance(item, dict) or (not whole and not isinstance(item.get("index", 0), int)):
            raise ToolCallInvalid("The provider sent a malformed tool call.")
        function = item.get("function")
        if function is not None and not isinstance(function, dict):
            raise ToolCallInvalid("The provider sent a malformed tool call.")
        if whole and function is not None and not isinstance(function.get("name"), str):
            raise ToolCallInvalid("The provider sent a tool call without a function name.")


def completion(raw: bytes, target: Target) -> Completion:
    """The unstreamed answer in `raw`. Raises `UpstreamFailure` unless it is one."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ResponseParsing(UNPARSABLE) from error
    if isinstance(data, dict) and data.get("error"):
        raise failure_from_event(data, target, started=False)
    check_completion(data)
    return Completion(
        data=data, raw=raw, usage=usage_from_openai(data.get("usage"), data.get("service_tier"))
    )


def check_completion(data: JSON | Any) -> None:
    """Raise `ResponseParsing` unless `data` has choices with messages."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ResponseParsing(UNPARSABLE)
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise ResponseParsing(UNPARSABLE)
        if calls := message.get("tool_calls"):
            check_tool_calls(calls, whole=True)
