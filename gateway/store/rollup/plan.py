"""Plan: which part of a period is read from which sums, and which from the rows?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gateway.store.rollup.cells import stretches
from gateway.store.rollup.families import DAY_MS, QUARTER_MS, Family

Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Days and quarter hours to read sums of, the latter without `marked`; and rows to sum up."""

    days: tuple[Stretch, ...] = ()
    quarters: tuple[Stretch, ...] = ()
    marked: tuple[int, ...] = ()
    live: tuple[Stretch, ...]

    def summed(self, family: Family) -> Iterator[tuple[str, Stretch, tuple[int, ...]]]:
        """Tables, stretches of them, and what is to be left out of those."""
        for stretch in self.days:
            yield family.days, stretch, ()
        for stretch in self.quarters:
            yield family.quarters, stretch, _within(stretch, self.marked)


def planned(
    period: Stretch, *, by_day: bool, until_ms: int, pruned_ms: int, marks: Sequence[int]
) -> Plan:
    """`by_day`: whole days of UTC may be read as such. `marks` in order."""
    since, until = period
    first = _down(since, QUARTER_MS) if since < pruned_ms else _up(since, QUARTER_MS)
    last = _up(until, QUARTER_MS) if until < pruned_ms else _down(until, QUARTER_MS)
    last = min(last, until_ms)
    if first >= last:
        return Plan(live=(period,))
    # Before `pruned_ms` the sums are all there is, or will be.
    marked = tuple(start for start in _within((first, last), marks) if start >= pruned_ms)
    live = [(since, first), *stretches(marked), (last, until)]
    days: list[Stretch] = []
    if by_day:
        stale = {start - start % DAY_MS for start in marked}
        days = list(_whole_days(_up(first, DAY_MS), _down(last, DAY_MS), stale))
    return Plan(
        days=tuple(days),
        quarters=tuple(_rest((first, last), days)),
        marked=marked,
        live=tuple(stretch for stretch in live if stretch[0] < stretch[1]),
    )


def _whole_days(first: int, last: int, stale: Collection[int]) -> Iterator[Stretch]:
    for day in sorted(stale):
        if first < day < last:
            yield first, day
        if first <= day < last:
            first = day + DAY_MS
    if first < last:
        yield first, last


def _rest(whole: Stretch, taken: Sequence[Stretch]) -> Iterator[Stretch]:
    position, end = whole
    for start, stop in taken:
        if position < start:
            yield position, start
        position = stop
    if position < end:
        yield position, end


def _within(stretch: Stretch, starts: Sequence[int]) -> tuple[int, ...]:
    return tuple(start for start in starts if stretch[0] <= start < stretch[1])


def _down(at_ms: int, step: int) -> int:
    return at_ms - at_ms % step


def _up(at_ms: int, step: int) -> int:
    return -(-at_ms // step) * step
