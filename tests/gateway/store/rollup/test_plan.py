"""Is every moment of a period read once: from days, from quarter hours, or from the rows?"""

from __future__ import annotations

import random

import pytest

from gateway.store.rollup.families import DAY_MS, QUARTER_MS
from gateway.store.rollup.plan import Plan, planned

END_MS = 5 * DAY_MS


def read(plan: Plan, at_ms: int) -> int:
    """How often a moment is read."""
    quarter = at_ms - at_ms % QUARTER_MS
    stretches = [*plan.days, *plan.live]
    times = sum(start <= at_ms < end for start, end in stretches)
    summed = any(start <= at_ms < end for start, end in plan.quarters)
    return times + (summed and quarter not in plan.marked)


@pytest.mark.parametrize("seed", range(60))
def test_each_moment_of_a_period_is_read_once(seed: int) -> None:
    rand = random.Random(seed)  # noqa: S311
    step = rand.choice((1, QUARTER_MS, DAY_MS))
    since, until = sorted(rand.randrange(0, END_MS + 1, step) for _ in range(2))
    until_ms = rand.randrange(0, END_MS, QUARTER_MS)
    marks = sorted(rand.sample(range(0, until_ms + 1, QUARTER_MS), k=min(3, until_ms // DAY_MS)))
    plan = planned(
        (since, until), by_day=rand.random() < 0.7, until_ms=until_ms, pruned_ms=0, marks=marks
    )
    turns = {at_ms for stretch in (*plan.days, *plan.quarters, *plan.live) for at_ms in stretch}
    turns |= {since, until, *marks}
    for turn in turns:
        for at_ms in (turn - 1, turn, turn + 1, turn + QUARTER_MS):
            assert read(plan, at_ms) == (since <= at_ms < until)
    # Sums of quarter hours are of whole ones, without a mark, and there.
    for start, end in (*plan.days, *plan.quarters):
        assert start % QUARTER_MS == end % QUARTER_MS == 0
        assert end <= until_ms
    for start, end in plan.days:
        assert start % DAY_MS == end % DAY_MS == 0
        assert not any(start <= mark < end for mark in marks)


def test_whole_days_are_read_as_days() -> None:
    plan = planned(
        (QUARTER_MS, END_MS), by_day=True, until_ms=END_MS, pruned_ms=0, marks=[2 * DAY_MS]
    )
    assert plan.days == ((DAY_MS, 2 * DAY_MS), (3 * DAY_MS, END_MS))
    assert plan.quarters == ((QUARTER_MS, DAY_MS), (2 * DAY_MS, 3 * DAY_MS))
    assert plan.live == ((2 * DAY_MS, 2 * DAY_MS + QUARTER_MS),)


def test_what_is_pruned_is_read_from_sums_alone_and_whole() -> None:
    plan = planned(
        (QUARTER_MS + 5, 9 * QUARTER_MS + 5),
        by_day=False,
        until_ms=END_MS,
        pruned_ms=DAY_MS,
        marks=[4 * QUARTER_MS],
    )
    assert plan.quarters == ((QUARTER_MS, 10 * QUARTER_MS),)
    assert (plan.marked, plan.live) == ((), ())


def test_nothing_summed_up_is_all_rows() -> None:
    plan = planned((3, END_MS), by_day=True, until_ms=0, pruned_ms=0, marks=[])
    assert (plan.days, plan.quarters, plan.live) == ((), (), ((3, END_MS),))
