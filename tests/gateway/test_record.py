"""What do the headers and the ledger row say of a trace?"""

from __future__ import annotations

import orjson
import pytest

from gateway.record import attempts, call_record, trace_headers, usd
from gateway.trace import (
    AttemptAnswered,
    AttemptEnded,
    AttemptSent,
    AttemptStarted,
    Fact,
    Identified,
    Paused,
    Routed,
    Trace,
)
from gateway.usage import Usage
from tests.builders import KEY, SECRET, call, target

A, B = target("p/a"), target("q/org/b")


def ended(number: int, at_s: float, error: str | None = None, cost: int | None = 0) -> AttemptEnded:
    return AttemptEnded(
        number=number, charge_id=f"c.{number}", at_s=at_s, error=error, cost_nano_usd=cost
    )


def trace(*facts: Fact) -> Trace:
    found = Trace()
    for fact in facts:
        found.add(fact)
    return found


ONE = (AttemptStarted(1, A, 0.001), AttemptSent(1, 0.002), AttemptAnswered(1, 0.502))
TWO = (
    AttemptStarted(1, A, 0.001),
    AttemptSent(1, 0.003),
    ended(1, 0.303, "server_error"),
    Paused(0.25),
    AttemptStarted(2, B, 0.554),
    AttemptSent(2, 0.555),
    AttemptAnswered(2, 0.655),
)
# The one that lost stands first, and ended a little later than the answer came.
HEDGED = (
    AttemptStarted(1, A, 0.001),
    AttemptSent(1, 0.012),
    ended(1, 0.92, "hedge_lost"),
    AttemptStarted(2, B, 0.5),
    AttemptSent(2, 0.51),
    AttemptAnswered(2, 0.9),
)
FIRST_WON = (
    AttemptStarted(2, B, 0.5),
    AttemptSent(2, 0.51),
    ended(2, 0.92, "hedge_lost"),
    AttemptStarted(1, A, 0.001),
    AttemptSent(1, 0.002),
    AttemptAnswered(1, 0.9),
)


@pytest.mark.parametrize(
    ("facts", "made", "served", "answered_s", "overhead_ms"),
    [
        ((), 0, None, None, None),
        (ONE[:1], 1, None, None, None),
        (HEDGED, 2, "q/org/b", 0.9, 12.0),
        (FIRST_WON, 2, "p/a", 0.9, 2.0),
        (ONE[:2], 1, None, None, None),
        (ONE, 1, "p/a", 0.502, 2.0),
        ((*ONE, ended(1, 9.0)), 1, "p/a", 0.502, 2.0),
        (TWO[:3], 1, None, None, None),
        (TWO[:5], 2, None, None, None),
        (TWO, 2, "q/org/b", 0.655, 5.0),
        ((*TWO, ended(2, 3.0, "response_parsing")), 2, "q/org/b", 0.655, 5.0),
    ],
)
def test_the_overhead_is_what_neither_a_provider_nor_a_pause_took(
    facts: tuple[Fact, ...],
    made: int,
    served: str | None,
    answered_s: float | None,
    overhead_ms: float | None,
) -> None:
    found = attempts(trace(*facts))
    assert (found.made, found.served, found.answered_s) == (made, served, answered_s)
    if overhead_ms is None:
        assert found.overhead_ms is None
    else:
        assert found.overhead_ms == pytest.approx(overhead_ms)


def test_a_call_that_never_reached_a_provider_has_only_its_id_in_the_headers() -> None:
    assert trace_headers("call_1", trace()) == {
        "x-request-id": "call_1",
        "x-sluice-call-id": "call_1",
    }


def test_the_headers_name_what_served_the_call_and_what_it_cost() -> None:
    headers = trace_headers("call_1", trace(*TWO, ended(2, 0.7, cost=1_200)))
    assert headers == {
        "x-request-id": "call_1",
        "x-sluice-call-id": "call_1",
        "x-sluice-attempts": "2",
        "x-sluice-provider": "q",
        "x-sluice-model": "org/b",
        "x-sluice-overhead-ms": "5.00",
        "x-sluice-cost-usd": "0.000001200",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpt-4o", "gpt-4o"),
        ("org/model:tag@1", "org/model:tag@1"),
        ("模型/é", "%E6%A8%A1%E5%9E%8B/%C3%A9"),
        ("a\r\nset-cookie: b", "a%0D%0Aset-cookie%3A%20b"),
    ],
)
def test_a_models_name_is_safe_in_a_header(name: str, text: str) -> None:
    facts = (AttemptStarted(1, target(f"p/{name}"), 0.0), *ONE[1:])
    assert trace_headers("call_1", trace(*facts))["x-sluice-model"] == text


@pytest.mark.parametrize(
    "facts",
    [ONE, (*ONE, ended(1, 0.6, cost=None)), (*TWO,), TWO[:5]],
    ids=["not settled yet", "unpriced", "the second is not settled", "under way"],
)
def test_a_cost_that_is_not_known_is_left_out(facts: tuple[Fact, ...]) -> None:
    assert "x-sluice-cost-usd" not in trace_headers("call_1", trace(*facts))


def test_a_call_that_failed_cost_the_sum_of_its_attempts() -> None:
    facts = (*TWO[:6], ended(2, 1.0, "timeout", cost=7))
    assert trace_headers("call_1", trace(*facts))["x-sluice-cost-usd"] == "0.000000007"


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (1_200, "0.000001200"),
        (999_999_999, "0.999999999"),
        (1_000_000_000, "1.000000000"),
        (12_345_678_901, "12.345678901"),
        (-1, "-0.000000001"),
        (2**60, "1152921504.606846976"),
    ],
)
def test_dollars_are_exact(nano_usd: int, text: str) -> None:
    assert usd(nano_usd) == text


def test_the_row_says_what_the_trace_knows() -> None:
    asked = call(body={"model": "smart"}, stream=True, controls={"tags": ["t"]})
    asked.trace.add(Identified(KEY))
    asked.trace.add(Routed("smart", "smart", (target("p/a"), target("q/org/b"))))
    for fact in TWO:
        asked.trace.add(fact)
    record = call_record(asked, 200, "response_parsing")
    assert (record.status, record.error, record.stream) == (200, "response_parsing", True)
    assert (record.key_id, record.team, record.tags) == ("k1", "red", ("t",))
    assert (record.asked_model, record.alias, record.target) == ("smart", "smart", "q/org/b")
    assert (record.attempts, record.first_event_ms, record.overhead_ms) == (2, 655, 5.0)
    assert 0 <= record.duration_ms < 10_000


def test_the_stored_facts_hold_no_secret_and_no_prompt() -> None:
    asked = call("the secret prompt", credential="sk-virtual")
    asked.trace.add(Identified(KEY))
    usage = Usage(prompt_tokens=3)
    for fact in (*TWO, AttemptEnded(number=2, charge_id="c.2", at_s=1.0, usage=usage)):
        asked.trace.add(fact)
    facts = orjson.loads(call_record(asked, 200, None).facts)
    assert [fact["fact"] for fact in facts][:2] == ["identified", "attempt_started"]
    text = repr(facts)
    assert "prompt" not in text
    assert SECRET not in text
    assert "sk-virtual" not in text


def test_a_call_that_was_never_routed_has_a_row_too() -> None:
    record = call_record(call(key=None), 403, "model_not_allowed")
    assert (record.key_id, record.team, record.alias, record.target) == ("", None, None, None)
    assert (record.attempts, record.first_event_ms, record.overhead_ms) == (0, None, None)
