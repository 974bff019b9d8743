"""Load: how busy is a target, and how fast does it answer?

Latency is the time to an unstreamed answer or to a stream's first event, as a moving average
that weighs by time: what is old counts for little, and without news the figure fades to nothing,
so that a target that was slow once is tried again. Failures are no latencies: one that fails
fast is not fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_FADES_IN_S = 10.0
_KEPT = 4096  # callers name models as they like


class Figures:
    """What is known of one target. `seconds` is its latency as of `at`."""

    __slots__ = ("at", "in_flight", "seconds")

    def __init__(self) -> None:
        self.in_flight = 0
        self.seconds = 0.0
        self.at: float | None = None

    def answered(self, seconds: float, now: float) -> None:
        """An attempt got its answer, or its first event, after `seconds`."""
        if self.at is None:
            self.seconds = seconds
        else:
            # News of one moment still move the figure: many at once are many.
            old = min(math.exp((self.at - now) / _FADES_IN_S), 0.9)
            self.seconds = seconds + old * (self.seconds - seconds)
        self.at = now

    def latency_s(self, now: float) -> float:
        """The average, faded by the time since its last news; 0 where nothing is known."""
        return 0.0 if self.at is None else self.seconds * math.exp((self.at - now) / _FADES_IN_S)


class Load:
    """Attempts in flight and latencies of this process, by a target's name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._figures: dict[str, Figures] = {}

    def of(self, name: str) -> Figures:
        """The figures of a target, to be changed by its attempts."""
        known = self._figures.get(name)
        if known is None:
            if len(self._figures) >= _KEPT:
                del self._figures[next(iter(self._figures))]
            known = self._figures[name] = Figures()
        return known

    def in_flight(self, name: str) -> int:
        known = self._figures.get(name)
        return known.in_flight if known else 0

    def latency_s(self, name: str) -> float:
        known = self._figures.get(name)
        return known.latency_s(self._clock()) if known else 0.0
