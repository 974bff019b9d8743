"""Is the latency an average that follows the time, and are attempts in flight counted?"""

from __future__ import annotations

import pytest

from gateway.load import Load
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def load(clock: Clock) -> Load:
    return Load(clock)


def test_figures_are_kept_by_name(load: Load) -> None:
    load.of("a").in_flight += 2
    load.of("b").in_flight += 1
    assert (load.in_flight("a"), load.in_flight("b"), load.in_flight("c")) == (2, 1, 0)
    load.of("a").in_flight -= 1
    assert load.in_flight("a") == 1


def test_the_first_latency_is_the_average(load: Load, clock: Clock) -> None:
    assert load.latency_s("a") == 0.0
    load.of("a").answered(2.0, clock.now)
    assert load.latency_s("a") == 2.0


def test_what_is_old_weighs_less(load: Load, clock: Clock) -> None:
    load.of("a").answered(10.0, clock.now)
    clock.now += 1
    load.of("a").answered(0.0, clock.now)
    assert load.latency_s("a") == pytest.approx(9.0)
    clock.now += 100
    load.of("a").answered(1.0, clock.now)
    assert load.latency_s("a") == pytest.approx(1.0, abs=0.01)


def test_many_at_one_moment_move_it_too(load: Load, clock: Clock) -> None:
    load.of("a").answered(10.0, clock.now)
    for _ in range(60):
        load.of("a").answered(1.0, clock.now)
    assert load.latency_s("a") == pytest.approx(1.0, abs=0.05)


def test_without_news_it_fades_so_that_the_slow_are_tried_again(load: Load, clock: Clock) -> None:
    load.of("a").answered(10.0, clock.now)
    clock.now += 10
    assert load.latency_s("a") == pytest.approx(3.68, abs=0.01)
    clock.now += 200
    assert load.latency_s("a") < 0.001


def test_names_that_callers_make_up_do_not_fill_the_memory(load: Load, clock: Clock) -> None:
    for number in range(5000):
        load.of(str(number)).answered(1.0, clock.now)
    assert len(load._figures) <= 4096


def test_a_target_that_has_not_answered_yet_counts_as_fast(load: Load) -> None:
    load.of("a").in_flight += 1
    assert load.latency_s("a") == 0.0
