"""Are further attempts a share of the calls in flight, and always a few?"""

from __future__ import annotations

import pytest

from gateway.retrybudget import RetryBudget


@pytest.mark.parametrize(("calls", "allowed"), [(1, 3), (15, 3), (19, 3), (20, 4), (100, 20)])
def test_a_share_of_the_calls_in_flight_but_always_a_few(calls: int, allowed: int) -> None:
    budget = RetryBudget(0.2, 3)
    budget.calls = calls
    taken = [budget.take() for _ in range(allowed + 5)]
    assert taken == [True] * allowed + [False] * 5


def test_what_a_call_took_comes_back_when_it_ends() -> None:
    budget = RetryBudget(0.2, 1)
    with budget.allowance() as allowance:
        assert allowance.take()
        assert not budget.take()
    assert budget.further == 0


def test_a_further_attempt_that_is_over_makes_room() -> None:
    budget = RetryBudget(0.2, 1)
    with budget.allowance() as one, budget.allowance() as other:
        assert one.take()
        assert not other.take()
        one.give_back()
        one.give_back()
        assert other.take()


def test_nothing_may_be_allowed() -> None:
    with RetryBudget(0.0, 0).allowance() as allowance:
        assert not allowance.take()


def test_a_call_has_one_place_at_most() -> None:
    budget = RetryBudget(0.2, 2)
    with budget.allowance() as allowance:
        assert allowance.take()
        assert allowance.take()
        assert budget.further == 1
    assert budget.further == 0
