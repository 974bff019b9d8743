"""Which trace does a call belong to?"""

from __future__ import annotations

import pytest

from gateway.telemetry import traces
from gateway.telemetry.traces import Parent
from tests.builders import call

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(int(TRACE, 16), int(SPAN, 16), False)),
        (f"00-{TRACE}-{SPAN}-03", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"cc-{TRACE}-{SPAN}-01-later", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(header: str, parent: Parent | None) -> None:
    assert traces.parent_of(call(headers={"traceparent": header})) == parent


def test_ids_of_a_call_are_its_own_and_stay_the_same() -> None:
    ids = [
        traces.trace_id("call_1"),
        traces.trace_id("call_2"),
        traces.call_span_id("call_1"),
        traces.attempt_span_id("call_1", 1),
        traces.attempt_span_id("call_1", 2),
        traces.attempt_span_id("call_2", 1),
    ]
    assert len(set(ids)) == len(ids)
    assert traces.attempt_span_id("call_1", 2) == traces.attempt_span_id("call_1", 2)
    assert max(ids[:2]) < 2**128
    assert max(ids[2:]) < 2**64


def test_what_is_written_can_be_read() -> None:
    header = traces.traceparent(7, 9, sampled=True)
    assert header == f"00-{7:032x}-{9:016x}-01"
    assert traces.parent_of(call(headers={"traceparent": header})) == Parent(7, 9, True)
