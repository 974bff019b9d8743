"""Entries: what is kept of an answer, and how does it become an answer again?

The upstream's bytes are kept and read anew for each hit: nobody who changes an answer on its way
out can change that of the next caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from gateway.cache.convert import assembled, exploded
from gateway.exchange import JSON, Completion, Event, Events, Reply, Stream
from gateway.usage import Usage
from gateway.wire.sse import Splitter

# `length` is the answer to the limit that was asked for, which is part of the key. A content
# filter's verdict, or an end that we do not know, may be another one the next time.
_WHOLE = frozenset({"stop", "length", "tool_calls", "function_call"})
_BATCH = 64
_OVERHEAD_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A whole answer. `payload` is a completion's bytes or a stream's events, one after another.

    One that is `sealed` is the payload of another (`gateway.cache.sealed`).
    `usage_at` is the number of the event that carries the usage. Times are unix seconds.
    """

    kind: Literal["completion", "stream", "sealed"]
    payload: bytes
    usage: Usage | None
    usage_at: int | None = None
    cost_nano_usd: int | None
    stored_at: float
    expires_at: float

    @property
    def size_bytes(self) -> int:
        return len(self.payload) + _OVERHEAD_BYTES

    @property
    def tokens(self) -> int:
        return self.usage.total_tokens if self.usage else 0

    def encode(self) -> bytes:
        """As it is stored outside of memory: one line of JSON, then the payload."""
        facts = {name: getattr(self, name) for name in _STORED}
        facts["usage"] = asdict(self.usage) if self.usage else None
        return orjson.dumps(facts) + b"\n" + self.payload

    @classmethod
    def decode(cls, stored: bytes) -> Entry:
        """The reverse. Raises `ValueError` or `TypeError` for what is no entry."""
        line, _, payload = stored.partition(b"\n")
        facts: Any = orjson.loads(line)
        if type(facts) is not dict:
            raise ValueError("no entry")
        usage = facts.pop("usage", None)
        return cls(payload=payload, usage=Usage(**usage) if usage else None, **facts)

    def completion(self) -> Completion:
        """The answer to an unstreamed call."""
        if self.kind == "completion":
            data = orjson.loads(self.payload)
            return Completion(data=data, raw=self.payload, usage=self.usage)
        return assembled_from(self.events())

    def events(self) -> Events:
        """The answer to a streamed call."""
        if self.kind == "completion":
            return exploded(orjson.loads(self.payload), self.usage)
        frames = Splitter(len(self.payload)).feed(self.payload)
        return [
            Event(orjson.loads(frame.data), frame.raw, self.usage if i == self.usage_at else None)
            for i, frame in enumerate(frames)
        ]

    def reply(self, *, stream: bool) -> Reply:
        """The answer in the form that is asked for."""
        return stream_of(self.events()) if stream else self.completion()


_STORED = ("kind", "usage_at", "cost_nano_usd", "stored_at", "expires_at")


def assembled_from(events: Sequence[Event]) -> Completion:
    """The completion that the events of a whole stream come to."""
    usage = next((event.usage for event in reversed(events) if event.usage), None)
    return Completion(data=assembled(event.data for event in events), usage=usage)


def stream_of(events: Events) -> Stream:
    """A stream of events that are all here."""

    async def batches() -> AsyncIterator[Events]:
        for at in range(0, len(events), _BATCH):
            yield events[at : at + _BATCH]

    return Stream(batches(), _nothing)


async def _nothing() -> None:
    """A replay holds no connection."""


def is_whole(reply: Completion | Sequence[Event], choices: int) -> bool:
    """Does every choice that was asked for end as an answer ends?"""
    pieces: list[JSON] = []
    if isinstance(reply, Completion):
        pieces = reply.data.get("choices") or []
    else:
        for event in reply:
            pieces += event.data.get("choices") or ()
    reasons: dict[int, object] = {}
    for piece in pieces:
        index = piece.get("index") or 0
        reasons[index] = piece.get("finish_reason") or reasons.get(index)
    return len(reasons) == choices and all(reason in _WHOLE for reason in reasons.values())


def payload_of(reply: Completion | Sequence[Event]) -> tuple[bytes, int | None]:
    """The bytes to keep, and which event carries the usage."""
    if isinstance(reply, Completion):
        return reply.encode(), None
    at = next((i for i, event in enumerate(reply) if event.usage), None)
    return b"".join([event.encode() for event in reply]), at
