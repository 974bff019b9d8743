"""What does an explanation make of a trace?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.budgets import Budgeted, Clamped
from gateway.cache.facts import Cached
from gateway.config import Health as Settings
from gateway.errors import InvalidPrompt, QuotaExceeded, RateLimitExceeded, SluiceError
from gateway.exchange import JSON, Call
from gateway.explanation import Foreseen, explanation
from gateway.health import Attempt, Health
from gateway.idempotency import Replayed
from gateway.limits.demand import Level, Limit, Limited, Verdict
from gateway.picking import Picked
from gateway.targets import Credential
from gateway.thirdparty import NotEvaluated
from gateway.trace import AttemptStarted, Fact, Identified, Routed, Skipped
from gateway.window import Truncated
from tests.builders import KEY, call, price, target
from tests.fakes.clock import Clock

PRICED = {"max_completion_tokens": 100}
A = target("p/a", price=price(), model=PRICED)
B = target("q/b", price=price(), model=PRICED)


def explained(
    *facts: Fact, error: SluiceError | None = None, of: Call | None = None, health: Any = None
) -> JSON:
    asked = of or call()
    for fact in facts:
        asked.trace.add(fact)
    return explanation(asked, error, health or Health(Settings()))


def attempted(*candidates: Any, number: int = 1, at: Any = None) -> list[Fact]:
    at = at or candidates[number - 1]
    made = call(candidates=candidates).with_(target=at, attempt=number)
    return [AttemptStarted(number, at, 0.1), Foreseen(made)]


def test_what_was_not_come_to_is_empty() -> None:
    found = explained(error=RateLimitExceeded("full", retry_after_s=2.0))
    assert found["outcome"]["kind"] == "refused"
    empty = [name for name, value in found.items() if value in (None, [])]
    assert empty == [
        *("key", "limits", "route", "dropped", "cache"),
        *("attempts", "budgets", "not_evaluated", "facts"),
    ]


@pytest.mark.parametrize(
    ("facts", "error", "kind"),
    [
        (attempted(A), None, "provider"),
        ([Cached("miss", b"k"), *attempted(A)], None, "provider"),
        ([Cached("hit", b"k")], None, "cache"),
        ([Cached("coalesced", b"k")], None, "joined"),
        ([Cached("miss", b"k")], None, "policy"),
        ([Replayed()], None, "replayed"),
        ([Replayed()], InvalidPrompt("x"), "replayed"),
        (attempted(A), RateLimitExceeded("x"), "refused"),
    ],
)
def test_outcomes(facts: list[Fact], error: SluiceError | None, kind: str) -> None:
    outcome = explained(*facts, error=error)["outcome"]
    assert outcome["kind"] == kind
    assert ("error" in outcome) == (error is not None)


def test_what_of_a_limit_is_left_and_which_refuses() -> None:
    requests, calls = Limit("requests", "key", "k1", 10), Limit("concurrent", "team", "red", 2)
    levels = (Level(requests, 0, 6.0), Level(calls, 1, 0.0))
    first, second = explained(Limited(Verdict(levels, requests, 1.5), "memory"))["limits"]
    assert first == {
        **{"scope": "key", "subject": "k1", "kind": "requests", "limit": 10},
        **{"remaining": 0, "reset_s": 6.0, "full": True, "wait_s": 1.5},
    }
    assert (second["remaining"], second["full"], second["wait_s"]) == (1, False, None)


def test_candidates_have_their_shares_and_their_health() -> None:
    health = Health(Settings(), clock=Clock())
    other = replace(B, credential=Credential("second"))
    with pytest.raises(QuotaExceeded), Attempt(health, other, 1e9):
        raise QuotaExceeded("x")
    borrowed = replace(A, fallback="more", fallback_on=frozenset({"timeout", "connection"}))
    found = explained(
        Picked(alias="more", strategy="lowest_cost", sticky="no"),
        Picked(alias="smart", strategy="weighted", sticky="no"),
        Routed("smart", "smart", (A, B, other, borrowed)),
        Skipped("r/blind", "vision"),
        health=health,
    )["route"]
    assert (found["alias"], found["strategy"], found["sticky"]) == ("smart", "weighted", "no")
    assert found["skipped"] == [{"target": "r/blind", "reason": "vision"}]
    assert [(c["credential"], c["share"], c["usable"]) for c in found["candidates"]] == [
        *(("default", 0.5, True), ("default", 0.5, True)),
        *(("second", 0.0, False), ("default", 0.0, True)),
    ]
    assert found["candidates"][3]["fallback"] == "more"
    assert found["candidates"][3]["only_after"] == ["connection", "timeout"]


def test_a_call_for_one_target_has_no_strategy() -> None:
    found = explained(Routed("p/a", None, (A,)))["route"]
    assert (found["alias"], found["strategy"]) == (None, "order")
    assert [c["share"] for c in found["candidates"]] == [None]


def test_attempts_and_those_that_could_follow() -> None:
    dear = target("p/dear", price=price(1.0, 2.0), model=PRICED)
    again = replace(A, fallback="more")
    found = explained(
        *attempted(dear, A, B, again),
        *attempted(dear, A, B, again, number=2),
        Clamped(70),
        Budgeted(123, {"team:red/month": -5}),
    )
    rows = [(a["number"], a["target"], a.get("reserved_nano_usd")) for a in found["attempts"]]
    assert rows == [(1, "p/dear", None), (2, "p/a", 123), (None, "q/b", None)]
    first, second, third = found["attempts"]
    assert (second["worst_case_usd"], second["max_tokens"]) == ("0.000000123", 70)
    assert first["worst_case_nano_usd"] > third["worst_case_nano_usd"] > 200_000
    assert found["budgets"] == [
        {"name": "team:red/month", "left_nano_usd": -5, "left_usd": "-0.000000005"}
    ]


def test_what_has_no_bound_says_why() -> None:
    unpriced = target("p/unpriced", model=PRICED)
    (found,) = explained(*attempted(unpriced))["attempts"]
    assert (found["worst_case_nano_usd"], found["worst_case_usd"]) == (None, None)
    assert found["unbounded"] == "its price is not known"


def test_what_is_dropped_and_what_was_passed_by() -> None:
    found = explained(
        Identified(KEY), Truncated("p/a", (1, 2), 30, 40), NotEvaluated("Redact"), *attempted(A)
    )
    assert found["dropped"] == {
        **{"target": "p/a", "messages": [1, 2], "tokens": 30, "kept_tokens": 40}
    }
    assert found["not_evaluated"] == ["Redact"]
    assert [fact["fact"] for fact in found["facts"]] == [
        *("identified", "truncated", "not_evaluated", "attempt_started"),
    ]
