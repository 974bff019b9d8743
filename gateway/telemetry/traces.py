"""Traces: which trace does a call belong to, and which span is an attempt?

Ids are derived from the call's own, which is random: so the header of an attempt can name a span
that is made only when the call is over, and nothing has to be kept between the two.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

from gateway.exchange import Call

# https://www.w3.org/TR/trace-context/: later versions may append fields.
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?"
)
SAMPLED = 1


class Parent(NamedTuple):
    """The span that called us."""

    trace_id: int
    span_id: int
    sampled: bool


def parent_of(call: Call) -> Parent | None:
    """What the caller's `traceparent` says; None without one, and for one that is none."""
    found = _TRACEPARENT.fullmatch(call.headers.get("traceparent", "").strip())
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    trace_id, span_id = int(found["trace"], 16), int(found["span"], 16)
    if not trace_id or not span_id:
        return None
    return Parent(trace_id, span_id, bool(int(found["flags"], 16) & SAMPLED))


def trace_id(call_id: str) -> int:
    """The trace of a call that nobody has begun one for."""
    return _digest(call_id, 16)


def call_span_id(call_id: str) -> int:
    """The span of the call."""
    return _digest(f"{call_id}/", 8)


def attempt_span_id(call_id: str, number: int) -> int:
    """The span of one of its attempts."""
    return _digest(f"{call_id}/{number}", 8)


def traceparent(trace: int, span: int, *, sampled: bool) -> str:
    """The header for whom that span calls."""
    return f"00-{trace:032x}-{span:016x}-{SAMPLED if sampled else 0:02x}"


def _digest(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1
