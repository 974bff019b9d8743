"""Does GCRA admit what its definition says, and never more?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import gcra
from gateway.limits.demand import Limit

SECOND_US = 1_000_000


class Bucket:
    """One bucket as a store would use it."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.arrival = 0

    def take(self, now_us: int, tokens: int = 0) -> int:
        """0, or how long to wait."""
        cost, window = self.limit.cost_us(tokens), self.limit.window_us
        wait = gcra.wait_us(self.arrival, now_us, cost, window)
        if not wait:
            self.arrival = gcra.taken(self.arrival, now_us, cost)
        return wait


def requests(per_minute: int) -> Bucket:
    return Bucket(Limit("requests", "key", "k", per_minute))


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60, 100, 999, 10_000])
def test_a_burst_of_exactly_the_limit_passes_and_then_the_steady_rate(per_minute: int) -> None:
    bucket, now = requests(per_minute), 5 * SECOND_US
    assert [bucket.take(now) for _ in range(per_minute)] == [0] * per_minute
    for _ in range(3):
        wait = bucket.take(now)
        assert wait == gcra.cost_us(1, per_minute)
        assert bucket.take(now + wait - 1) == 1
        now += wait
        assert bucket.take(now) == 0


def test_the_table_of_two_a_minute() -> None:
    bucket = requests(2)
    table = [(0, True), (0, True), (0, False), (29.9, False), (30, True), (30, False), (3600, True)]
    seen = [(at_s, bucket.take(round(at_s * SECOND_US) + 1) == 0) for at_s, _ in table]
    assert seen == table


@given(
    per_minute=st.integers(1, 5000),
    steps=st.lists(st.tuples(st.integers(0, 40 * SECOND_US), st.integers(1, 60)), max_size=60),
)
def test_no_stretch_of_time_has_more_than_the_limit_and_the_rate(
    per_minute: int, steps: list[tuple[int, int]]
) -> None:
    bucket, now, admitted = requests(per_minute), 1, []
    for pause, times in steps:
        now += pause
        admitted += [now for _ in range(times) if bucket.take(now) == 0]
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            most = per_minute + (admitted[last] - start) * per_minute / gcra.WINDOW_US
            assert last - first + 1 <= most + 1e-9


@given(
    per_minute=st.integers(1, 10**7),
    steps=st.lists(
        st.tuples(st.integers(0, 90 * SECOND_US), st.integers(0, 10**6), st.integers(0, 10**6)),
        max_size=40,
    ),
)
def test_corrected_tokens_never_exceed_the_limit_and_the_rate(
    per_minute: int, steps: list[tuple[int, int, int]]
) -> None:
    """From the beginning: what was used is at most a burst, the rate, and the last surprise."""
    limit = Limit("tokens", "key", "k", per_minute)
    bucket, now, used = Bucket(limit), 1, 0
    for pause, estimate, actual in steps:
        now += pause
        if limit.cost_us(estimate) > limit.window_us or bucket.take(now, estimate):
            continue
        most = per_minute * (1 + now / gcra.WINDOW_US)
        assert used + estimate <= most + 1e-6
        change = limit.cost_us(actual) - limit.cost_us(estimate)
        bucket.arrival = gcra.taken(bucket.arrival, now, change)
        used += actual


@given(per_minute=st.integers(1, 10**6), tokens=st.lists(st.integers(0, 10**6), max_size=30))
def test_the_wait_is_the_very_time_that_is_left(per_minute: int, tokens: list[int]) -> None:
    limit = Limit("tokens", "team", "t", per_minute)
    bucket, now = Bucket(limit), 1
    for amount in tokens:
        if limit.cost_us(amount) > limit.window_us:
            continue
        if wait := bucket.take(now, amount):
            assert bucket.take(now + wait - 1, amount) == 1
            now += wait
            assert bucket.take(now, amount) == 0
