"""When does a breaker open, for how long, and what closes it?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.breaker import Breaker, Rules

RULES = Rules(
    consecutive_failures=3,
    error_share=0.5,
    min_attempts=10,
    window_s=20.0,
    bench_s=4.0,
    max_bench_s=30.0,
)
NEVER_IN_A_ROW = replace(RULES, consecutive_failures=1000)


def opened(rules: Rules = RULES) -> Breaker:
    breaker = Breaker(rules, 0.0)
    breaker.trip(0.0)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(RULES, 0.0)
    for failed in (True, True, False, True, True):
        (breaker.failed if failed else breaker.succeeded)(0.0, breaker.epoch)
        assert breaker.state(0.0) == "closed"
    breaker.failed(0.0, 0)
    assert breaker.state(0.0) == "benched"
    assert not breaker.usable(3.9)
    assert breaker.state(4.0) == "probing"
    assert breaker.usable(4.0)


@pytest.mark.parametrize(("attempts", "opens"), [(9, False), (10, True)])
def test_a_share_of_errors_opens_it_from_enough_attempts_on(attempts: int, opens: bool) -> None:
    breaker = Breaker(NEVER_IN_A_ROW, 0.0)
    for number in range(1, attempts + 1):
        (breaker.succeeded if number % 2 else breaker.failed)(0.0, 0)
    if attempts % 2:
        breaker.succeeded(0.0, 0)
    assert (breaker.state(0.0) == "benched") is opens


@pytest.mark.parametrize(("failures", "opens"), [(1, False), (19, False), (20, True)])
def test_a_smaller_share_does_not(failures: int, opens: bool) -> None:
    breaker = Breaker(NEVER_IN_A_ROW, 0.0)
    for _ in range(20):
        breaker.succeeded(0.0, 0)
    for _ in range(failures):
        assert breaker.state(0.0) == "closed"
        breaker.failed(0.0, 0)
    assert (breaker.state(0.0) == "benched") is opens


@pytest.mark.parametrize("times", [[4.0] * 9, [4.0] * 4 + [14.0] * 5])
def test_attempts_are_counted_from_nothing_after_a_bench(times: list[float]) -> None:
    breaker = Breaker(NEVER_IN_A_ROW, 0.0)
    breaker.trip(0.0)
    breaker.succeeded(4.0, breaker.epoch)
    for now in times:
        breaker.failed(now, breaker.epoch)
    assert breaker.state(times[-1]) == "closed"
    breaker.failed(times[-1], breaker.epoch)
    assert breaker.state(times[-1]) == "benched"


def test_failures_older_than_the_window_are_forgotten() -> None:
    breaker = Breaker(NEVER_IN_A_ROW, 0.0)
    for _ in range(9):
        breaker.failed(0.0, 0)
    breaker.failed(21.0, 0)
    assert breaker.state(21.0) == "closed"


def test_the_window_slides_by_halves() -> None:
    breaker = Breaker(NEVER_IN_A_ROW, 0.0)
    for _ in range(5):
        breaker.failed(0.0, 0)
    for _ in range(4):
        breaker.failed(11.0, 0)
    assert breaker.state(11.0) == "closed"
    breaker.failed(19.0, 0)
    assert breaker.state(19.0) == "benched"


def test_one_probe_at_a_time() -> None:
    breaker = opened()
    assert breaker.usable(4.0)
    breaker.probes += 1
    assert not breaker.usable(4.0)
    breaker.probes -= 1
    assert breaker.usable(4.0)


def test_each_bench_is_twice_as_long_up_to_the_most() -> None:
    breaker, now, lengths = opened(), 0.0, []
    for _ in range(5):
        lengths.append(breaker.until - now)
        now = breaker.until
        breaker.failed(now, breaker.epoch)  # the probe
    assert lengths == [4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_bench_after_a_short_recovery_is_longer_still() -> None:
    breaker = opened()
    breaker.succeeded(4.0, breaker.epoch)
    assert breaker.state(4.0) == "closed"
    breaker.trip(10.0)
    assert breaker.until == 18.0


def test_a_long_recovery_is_a_new_beginning() -> None:
    breaker = opened()
    breaker.succeeded(4.0, breaker.epoch)
    breaker.trip(34.0)
    assert breaker.until == 38.0


def test_a_new_beginning_is_as_short_as_the_first() -> None:
    breaker = opened(replace(RULES, bench_s=0.5))
    breaker.succeeded(1.0, breaker.epoch)
    breaker.trip(31.0)
    assert breaker.until == 31.5


def test_nothing_shortens_a_bench() -> None:
    breaker = opened()
    breaker.failed(0.0, breaker.epoch, at_least_s=20.0)
    assert breaker.until == 20.0
    breaker.failed(1.0, breaker.epoch, at_least_s=1.0)
    breaker.trip(2.0)
    assert breaker.until == 20.0


def test_what_a_provider_asks_for_makes_a_bench_longer_up_to_the_most() -> None:
    for asked, length in ((2.0, 4.0), (9.0, 9.0), (1e9, 30.0)):
        breaker = Breaker(RULES, 0.0)
        breaker.trip(0.0, asked)
        assert breaker.until == length


def test_an_attempt_from_before_the_bench_says_nothing() -> None:
    breaker = Breaker(RULES, 0.0)
    before = breaker.epoch
    breaker.trip(0.0)
    breaker.succeeded(1.0, before)
    assert breaker.state(1.0) == "benched"
    breaker.failed(5.0, before)
    assert breaker.state(5.0) == "probing"


def test_a_success_on_the_bench_ends_it() -> None:
    breaker = opened()
    breaker.succeeded(1.0, breaker.epoch)
    assert breaker.state(1.0) == "closed"
    breaker.failed(1.0, breaker.epoch)
    assert breaker.state(1.0) == "closed", "the count began anew"
