"""Framing: where does one JSON object of an answer end, and the next begin?

Readers of the ways in which providers put JSON on the wire. Each hands the objects to a `Witness`
and says how many bytes of a block came before the first fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import orjson

Wrong = Mapping[str, Any] | Literal["unreadable", "too large", "tool call"]
"""A fault: the error body that stood in the answer, or a word for what else was the matter."""


class Witness(Protocol):
    """Who is told what the readers find. See `Evidence`."""

    recognised: bool
    counted: bool
    wrong: Wrong | None

    def look(self, data: object) -> bool: ...
    def frame(self, kind: str) -> None: ...


class Reader(Protocol):
    """`feed` returns how many bytes of the block come before the first fault: all, if none."""

    def feed(self, block: bytes) -> int: ...
    def close(self) -> None: ...


def reader(content_type: str, witness: Witness, max_line: int, max_body: int) -> Reader:
    """The reader for a content type; lines, where it says nothing."""
    if "amazon.eventstream" in content_type:
        return Frames(witness, max_line)
    if content_type.startswith("application/json"):
        return Document(witness, max_body)
    return Lines(witness, max_line, max_body)


class Document:
    """One JSON document, or, in a stream that litellm calls JSON, one per line."""

    def __init__(self, witness: Witness, max_bytes: int) -> None:
        self._witness = witness
        self._max_bytes = max_bytes
        self._blocks: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> int:
        self._size += len(block)
        if self._size > self._max_bytes:
            self._witness.wrong = "too large"
            return 0
        self._blocks.append(block)
        return len(block)

    def close(self) -> None:
        body = b"".join(self._blocks)
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            lines = Lines(self._witness, self._max_bytes, self._max_bytes)
            lines.feed(body)
            lines.close()
            if not self._witness.recognised:
                self._witness.wrong = self._witness.wrong or "unreadable"
            return
        for part in parsed if isinstance(parsed, list) else [parsed]:
            self._witness.look(part)


class Lines:
    """Server-sent events and JSON lines."""

    def __init__(self, witness: Witness, max_line: int, max_body: int) -> None:
        self._witness = witness
        self._max_line = max_line
        self._max_body = max_body
        self._size = 0
        self._rest = b""  # a line that is not complete yet
        self._held = b""  # `data:` lines of one event that make no JSON yet

    def feed(self, block: bytes) -> int:
        self._size += len(block)
        pending = len(self._rest)
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._max_line or self._size > self._max_body:
            self._witness.wrong = "too large"
            return 0
        position = -pending
        for line in lines:
            if not self._line(line):
                return max(0, position)
            position += len(line) + 1
        return len(block)

    def close(self) -> None:
        if self._rest:
            self._line(self._rest)
        self._line(b"")

    def _line(self, line: bytes) -> bool:
        """False if the line, or the event that it ends, is faulty."""
        line = line.rstrip(b"\r")
        if line.startswith(b"data:"):
            return self._data(line[5:].strip())
        if not line:
            if self._held:
                self._witness.wrong = "unreadable"
                return False
        elif line[:1] in b"{[":
            return self._data(line)
        return True

    def _data(self, payload: bytes) -> bool:
        if not payload or payload == b"[DONE]":
            return True
        if self._held:
            payload = self._held + b"\n" + payload
        if len(payload) > self._max_line:
            self._witness.wrong = "too large"
            return False
        try:
            data = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self._held = payload  # an event may spread one document over several lines
            return True
        self._held = b""
        return self._witness.look(data)


class Frames:
    """`application/vnd.amazon.eventstream`: length, headers' length, checksum, headers, payload."""

    def __init__(self, witness: Witness, max_frame: int) -> None:
        self._witness = witness
        self._max_frame = max_frame
        self._rest = b""

    def feed(self, block: bytes) -> int:
        pending, data, position = len(self._rest), self._rest + block, 0
        while len(data) - position >= 16:
            size = int.from_bytes(data[position : position + 4])
            if not 16 <= size <= self._max_frame:
                self._witness.wrong = "unreadable" if size < 16 else "too large"
                return 0
            if len(data) - position < size:
                break
            if not self._frame(data[position : position + size]):
                return max(0, position - pending)
            position += size
        self._rest = data[position:]
        return len(block)

    def close(self) -> None:
        if self._rest and self._witness.wrong is None:
            self._witness.wrong = "unreadable"

    def _frame(self, frame: bytes) -> bool:
        split = 12 + int.from_bytes(frame[4:8])
        headers, payload = frame[12:split], frame[split:-4]
        if b":exception-type" in headers or b":error-code" in headers:
            kind = _header(headers, b":exception-type") or _header(headers, b":error-code")
            self._witness.wrong = {"__type": kind, "message": _message(payload)}
            return False
        self._witness.frame(_header(headers, b":event-type"))
        if b'"usage"' in payload:
            self._witness.counted = True
        try:
            orjson.loads(payload)
        except orjson.JSONDecodeError:
            self._witness.wrong = "unreadable"
            return False
        return True


def _header(headers: bytes, name: bytes) -> str:
    """A string header's value: after the name stand a 7 and the value's length in two bytes."""
    _, found, rest = headers.partition(name + b"\x07")
    size = int.from_bytes(rest[:2]) if found else 0
    return rest[2 : 2 + size].decode("utf-8", "replace")


def _message(payload: bytes) -> str:
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return ""
    message = said.get("message") if isinstance(said, dict) else None
    return message if isinstance(message, str) else ""
