"""Are the shares that are told those with which targets are picked?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from gateway.chances import Account, account_of, first_chances
from gateway.config import Health as Settings
from gateway.config import Sticky, Strategy
from gateway.directory import Resolution
from gateway.errors import QuotaExceeded, ServerError, UpstreamFailure
from gateway.health import Attempt, Health
from gateway.picking import Picker
from gateway.targets import Credential, Target
from tests.builders import call, completion, target
from tests.fakes.clock import Clock

DRAWS = 3000
A, B, C = target("p/a"), target("q/b"), target("r/c")
TWICE = replace(B, spares=(Credential("second"),))


def heavy(at: Target, weight: float, priority: int = 0) -> Target:
    return replace(at, weight=weight, priority=priority)


def fail(health: Health, at: Target, error: UpstreamFailure) -> None:
    with pytest.raises(type(error)), Attempt(health, at, 1e9):
        raise error


@pytest.fixture
def health() -> Health:
    """`p/a` is slow and idle, `q/b` and `r/c` have a call running."""
    clock = Clock()
    health = Health(Settings(consecutive_failures=1), clock=clock)
    for at, seconds in ((A, 3.0), (B, 1.0), (C, 0.5)):
        with Attempt(health, at, 1e9) as observed:
            clock.now += seconds
            observed.answered(completion())
    for at in (B, C):
        health.load.of(at.name).in_flight += 1
    return health


CASES: list[tuple[Strategy, tuple[Target, ...], int]] = [
    ("weighted", (heavy(A, 3.0), B, C), 3),
    ("weighted", (heavy(A, 3.0), heavy(B, 0.0), C), 2),
    ("weighted", (heavy(A, 1.0, priority=1), B, C), 2),
    ("weighted", (heavy(A, 0.0), heavy(B, 0.0)), 0),
    ("weighted", (A, TWICE), 3),
    ("weighted", (A,), 0),
    ("order", (A, B), 0),
    ("order", (TWICE, A), 2),
    ("least_busy", (A, B, C), 0),
    ("least_busy", (heavy(B, 2.0), heavy(C, 2.0)), 2),
    ("lowest_latency", (A, B, C), 2),
    ("lowest_latency", (A, heavy(B, 5.0), C), 2),
    ("lowest_latency", (A, B), 0),
    ("lowest_cost", (A, B), 0),
]


def first_choices(
    health: Health, strategy: Strategy, sticky: Sticky, targets: tuple[Target, ...]
) -> tuple[Counter[Account], tuple[Target, ...]]:
    """How often each comes first among many calls, and the order of the last one's."""
    found = Resolution(alias="m", grants=("m",), targets=targets, strategy=strategy, sticky=sticky)
    picker, counts = Picker(health), Counter[Account]()
    for number in range(DRAWS):
        ordered = picker.order(call().with_(id=f"call_{number}"), found, targets)
        counts[account_of(ordered[0])] += 1
    return counts, ordered


@pytest.mark.parametrize(("strategy", "targets", "count"), CASES)
def test_shares_are_those_of_many_calls(
    health: Health, strategy: Strategy, targets: tuple[Target, ...], count: int
) -> None:
    counts, ordered = first_choices(health, strategy, "no", targets)
    chances = first_chances(ordered, strategy, "no", health)
    assert len(chances) == count
    if not chances:
        assert len(counts) == 1, "nothing random"
        return
    assert sum(chances.values()) == pytest.approx(1.0)
    assert counts.keys() == chances.keys()
    for account, chance in chances.items():
        assert counts[account] / DRAWS == pytest.approx(chance, abs=0.03)


def test_what_is_benched_has_no_share(health: Health) -> None:
    fail(health, C, ServerError("x"))
    fail(health, replace(B, credential=Credential("second")), QuotaExceeded("x"))
    counts, ordered = first_choices(health, "weighted", "no", (A, TWICE, C))
    chances = first_chances(ordered, "weighted", "no", health)
    assert chances == {("p/a", "default"): 0.5, ("q/b", "default"): 0.5}
    assert counts.keys() == chances.keys()


def test_nothing_is_random_of_what_sticks_or_is_borrowed(health: Health) -> None:
    assert first_chances((A, B), "weighted", "key", health) == {}
    borrowed = replace(B, fallback="other")
    assert first_chances((A, borrowed), "weighted", "no", health) == {}
    assert first_chances((borrowed,), "weighted", "no", health) == {}
