"""When is a call slow, and is nothing left of a race?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.config import Health as HealthSettings
from gateway.config import Retry as Settings
from gateway.health import Health
from gateway.hedging import LEAST_ANSWERS, LOST, Hedging, hedging
from tests.builders import call, target
from tests.fakes.clock import Clock

A = target("p/a")


class Seen:
    """A `Hedging` that saw answers of these lengths."""

    def __init__(self, *seconds: float, percentile: float = 90.0, min_s: float = 0.0) -> None:
        self.clock = Clock()
        self.hedging = Hedging(percentile, min_s, self.clock)
        for length in seconds:
            self.add(length)

    def add(self, seconds: float) -> None:
        with self.hedging.timed(call(at=A)):
            self.clock.now += seconds

    @property
    def delay_s(self) -> float | None:
        return self.hedging.delay_s(call(), A.name)


def test_without_a_percentile_there_is_no_hedging() -> None:
    health = Health(HealthSettings(), clock=Clock())
    assert hedging(Settings(), health) is None
    assert hedging(Settings(hedge_percentile=50.0), health) is not None


def test_nothing_is_slow_before_enough_answers_are_known() -> None:
    seen = Seen(*[1.0] * (LEAST_ANSWERS - 1))
    assert seen.delay_s is None
    seen.add(1.0)
    assert seen.delay_s == pytest.approx(1.0)
    assert seen.hedging.delay_s(call(), "p/other") is None


@pytest.mark.parametrize(
    ("percentile", "delay_s"),
    [(0.1, 1.0), (1, 1.0), (1.1, 2.0), (50, 50.0), (90, 90.0), (99, 99.0), (99.9, 100.0)],
)
def test_the_delay_is_what_so_many_percent_do_not_exceed(percentile: float, delay_s: float) -> None:
    lengths = [float((number * 37) % 100 + 1) for number in range(100)]
    seen = Seen(*lengths, percentile=percentile)
    assert seen.delay_s == pytest.approx(delay_s)


def test_only_the_latest_200_answers_count() -> None:
    seen = Seen(*[9.0] * 200, percentile=50.0)
    for _ in range(100):
        seen.add(1.0)
    assert seen.delay_s == pytest.approx(1.0)  # the first hundred of them
    seen = Seen(*[9.0] * 200, percentile=51.0)
    for _ in range(100):
        seen.add(1.0)
    assert seen.delay_s == pytest.approx(9.0)


def test_the_delay_has_a_minimum() -> None:
    assert Seen(*[0.01] * 20, min_s=0.5).delay_s == 0.5
    assert Seen(*[0.75] * 20, min_s=0.5).delay_s == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("error", "attempt", "counts"),
    [
        (asyncio.CancelledError(LOST), 1, True),
        (asyncio.CancelledError(LOST), 2, False),  # it began later: it says nothing
        (asyncio.CancelledError("client_gone"), 1, False),
        (asyncio.CancelledError(), 1, False),
        (ValueError(), 1, False),
    ],
)
def test_what_did_not_end_counts_only_if_it_was_too_slow(
    error: BaseException, attempt: int, counts: bool
) -> None:
    seen = Seen(*[1.0] * (LEAST_ANSWERS - 1))
    asked = call(at=A).with_(attempt=attempt)

    def attempt_that_ends() -> None:
        with seen.hedging.timed(asked):
            seen.clock.now += 5.0
            raise error

    with pytest.raises(type(error)):
        attempt_that_ends()
    assert (seen.delay_s is not None) == counts


def test_streams_and_dry_runs_are_not_hedged() -> None:
    seen = Seen(*[1.0] * 20)
    assert seen.hedging.delay_s(call(stream=True), A.name) is None
    assert seen.hedging.delay_s(call(dry_run=True), A.name) is None


def test_callers_cannot_fill_the_memory_with_names() -> None:
    seen = Seen()
    for number in range(5000):
        with seen.hedging.timed(call(at=target(f"p/m{number}"))):
            pass
    assert len(seen.hedging._latencies) == 4096
