"""Histograms of durations: in which bucket does a call count, and what is the median?

The bounds are fixed for ever, since the buckets are columns: a change needs new ones. They double
below 32 ms and go up by the square root of 2 above. A percentile is interpolated within its
bucket: it is off by that factor at most, and by a few percent where values are spread evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_LAST_MS = 600_000


def _durations() -> tuple[int, ...]:
    bounds = [1, 2, 4, 8, 16]
    bounds += [round(32 * 2 ** (step / 2)) for step in range(29)]
    return (*bounds, _LAST_MS)


DURATION_MS = _durations()
OVERHEAD_US = tuple(125 * 2**step for step in range(14))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bucket `n` counts the values below `bounds[n]` that are in none before; the last the rest."""

    name: str
    column: str
    bounds: tuple[int, ...]

    @property
    def buckets(self) -> tuple[str, ...]:
        """The names of the buckets' columns."""
        return tuple(f"{self.name}_{number:02}" for number in range(len(self.bounds) + 1))

    def measures(self, condition: str) -> dict[str, str]:
        """By bucket, SQL that is 1 for a row that belongs in it."""
        column = self.column
        inner = [f"{column} >= {low} AND {column} < {high}" for low, high in pairwise(self.bounds)]
        ranges = [f"{column} < {self.bounds[0]}", *inner, f"{column} >= {self.bounds[-1]}"]
        return {
            bucket: f"CASE WHEN {values} AND {condition} THEN 1 ELSE 0 END"
            for bucket, values in zip(self.buckets, ranges, strict=True)
        }

    def quantile(self, counts: Mapping[str, int], share: float) -> float | None:
        """The value that `share` of all are below, in the column's unit; None of nothing."""
        return _quantile([counts[bucket] for bucket in self.buckets], self.bounds, share)


DURATION = Histogram("duration", "duration_ms", DURATION_MS)
FIRST_EVENT = Histogram("first_event", "first_event_ms", DURATION_MS)
OVERHEAD = Histogram("overhead", "overhead_us", OVERHEAD_US)


def _quantile(counts: Sequence[int], bounds: Sequence[int], share: float) -> float | None:
    wanted = share * sum(counts)
    if not wanted:
        return None
    below = 0
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            return _within(bounds, number, (wanted - below) / count)
        below += count
    return float(bounds[-1])


def _within(bounds: Sequence[int], number: int, share: float) -> float:
    """Between a bucket's bounds, evenly on a logarithmic scale; the last has no upper one."""
    if number == len(bounds):
        return float(bounds[-1])
    high = bounds[number]
    if number == 0:
        return share * high
    low = bounds[number - 1]
    return float(low * (high / low) ** share)
