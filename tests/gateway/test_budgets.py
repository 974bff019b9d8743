from __future__ import annotations

from typing import Any

import pytest

from gateway.budgets import Budget, Budgets
from tests.gateway.store.entries import NOW_MS, intent

DAY_MS = 86_400_000


def budget(scope: Any = "team", value: str = "red", **more: Any) -> Budget:
    values: dict[str, Any] = {
        "id": f"{scope}-{value}",
        "scope": scope,
        "scope_value": value,
        "period": "day",
        "zone": "UTC",
        "limit_nano_usd": 10_000,
        "hard": True,
    }
    return Budget(**(values | more))


def test_without_budgets_there_is_nothing_to_hold() -> None:
    budgets = Budgets()
    assert not budgets
    assert budgets.of(intent()) == []


@pytest.mark.parametrize(
    ("scope", "value", "applies"),
    [
        ("key", "k1", True),
        ("key", "k2", False),
        ("team", "red", True),
        ("team", "k1", False),
        ("model", "fast", True),
        ("model", "openai/gpt", True),
        ("model", "gpt", False),
        ("tag", "a", True),
        ("tag", "b", True),
        ("tag", "c", False),
    ],
)
def test_a_budget_applies_by_its_scope(scope: str, value: str, applies: bool) -> None:
    found = budget(scope, value)
    assert Budgets([found]).of(intent()) == ([found] if applies else [])


def test_a_keys_budget_does_not_need_a_team() -> None:
    found = budget("key", "k1")
    assert Budgets([found]).of(intent(team=None)) == [found]


def test_budgets_come_in_the_order_of_their_ids_and_once() -> None:
    all_of_them = [
        budget("tag", "a", id="4"),
        budget("model", "openai/gpt", id="2"),
        budget("team", id="3", period="month"),
        budget("team", id="1"),
    ]
    asked = intent(asked_model="openai/gpt", tags=("a", "a"))
    assert [found.id for found in Budgets(all_of_them).of(asked)] == ["1", "2", "3", "4"]


def test_a_reservation_is_the_bound_in_the_period_of_the_intent() -> None:
    daily = budget(limit_nano_usd=5, hard=False)
    budgets = Budgets([daily])
    for day in (0, 1, 0):  # a period is remembered only while it lasts
        now_ms = NOW_MS + day * DAY_MS
        (held,) = budgets.reservations(intent(opened_at_ms=now_ms, bound_nano_usd=77), [daily])
        assert held.period_start_ms == now_ms - now_ms % DAY_MS
        assert (held.nano_usd, held.limit_nano_usd, held.hard) == (77, 5, False)


def test_an_unpriced_attempt_holds_nothing() -> None:
    budgets = Budgets([budget()])
    (held,) = budgets.reservations(intent(bound_nano_usd=None), [budget()])
    assert held.nano_usd == 0


def test_replacing_forgets_what_was() -> None:
    budgets = Budgets([budget("team", "red")])
    budgets.replace([budget("team", "blue")])
    assert budgets.of(intent()) == []
    assert budgets.named("team-red") is None
    assert budgets.named("team-blue") == budget("team", "blue")
