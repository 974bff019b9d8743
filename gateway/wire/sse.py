"""Server-sent events: where does one end and the next begin?

Follows the parsing rules of the WHATWG HTML standard, § 9.2.6: lines end with LF, CRLF or CR, a
blank line ends an event, `:` starts a comment, several `data:` lines are joined with LF.
"""

from __future__ import annotations

from typing import NamedTuple

DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"
HEARTBEAT = b": heartbeat\n\n"
_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event. `raw` is it as it can be forwarded; `name` is its `event:` field, mostly empty."""

    raw: bytes
    data: bytes
    name: bytes = b""


class LineTooLong(ValueError):
    """An event grew past the cap before its end was seen."""


class Splitter:
    """Bytes in, whole events out, wherever the reads were cut. One per stream."""

    __slots__ = ("_after_cr", "_max_bytes", "_rest", "_started")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[Frame]:
        """The events that `data` completes. Raises `LineTooLong`."""
        if not self._started:
            data = self._first(data)
        if self._after_cr or b"\r" in data:
            data = self._unify_line_ends(data)
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > self._max_bytes:
            raise LineTooLong
        return [frame for block in blocks if (frame := _frame(block))]

    def end(self) -> list[Frame]:
        """What is left when the stream is over: an event whose blank line never came."""
        block, self._rest = self._rest, b""
        frame = _frame(block)
        return [frame] if frame else []

    def _first(self, data: bytes) -> bytes:
        """Drop a byte order mark, which is allowed at the very start only."""
        head = self._rest + data
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._rest = head
            return b""
        self._started = True
        self._rest = b""
        return head.removeprefix(_BOM)

    def _unify_line_ends(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the other half of a CRLF that was cut in two
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _frame(block: bytes) -> Frame | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return Frame(block + b"\n\n", block[6:])
    return _frame_of_lines(block)


def _frame_of_lines(block: bytes) -> Frame | None:
    """The general case: comments, other fields, several data lines. None if it carries no data."""
    data: list[bytes] = []
    name = b""
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    if not data:
        return None
    return Frame(
        b"".join(b"data: " + line + b"\n" for line in data) + b"\n", b"\n".join(data), name
    )
