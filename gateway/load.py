"""Load: how busy is a target, and how fast does it answer?

Latency is the time to an unstreamed answer or to a stream's first event, as a moving average
that weighs by time: what is old counts for little, and without news the figure fades to nothing,
so that a target that was slow once is tried again. Failures are no latencies: one that fails
fast is not fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

_FADES_IN_S = 10.0
_KEPT = 4096  # callers name models as they like


class _Average(NamedTuple):
    seconds: float
    at: float


class Load:
    """Attempts in flight and latencies of this process, by a target's name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_flight: dict[str, int] = {}
        self._latencies: dict[str, _Average] = {}

    def in_flight(self, name: str) -> int:
        return self._in_flight.get(name, 0)

    def latency_s(self, name: str) -> float:
        """The average, faded by the time since its last news; 0 where nothing is known."""
        known = self._latencies.get(name)
        if known is None:
            return 0.0
        return known.seconds * math.exp((known.at - self._clock()) / _FADES_IN_S)

    def started(self, name: str) -> None:
        self._in_flight[name] = self._in_flight.get(name, 0) + 1

    def ended(self, name: str) -> None:
        left = self._in_flight.get(name, 0) - 1
        if left > 0:
            self._in_flight[name] = left
        else:
            self._in_flight.pop(name, None)

    def answered(self, name: str, seconds: float, now: float) -> None:
        """An attempt got its answer, or its first event, after `seconds`."""
        known = self._latencies.get(name)
        if known is None:
            if len(self._latencies) >= _KEPT:
                del self._latencies[next(iter(self._latencies))]
            self._latencies[name] = _Average(seconds, now)
            return
        old = math.exp((known.at - now) / _FADES_IN_S)
        # News of one moment still move the figure: many at once are many.
        old = min(old, 0.9)
        self._latencies[name] = _Average(seconds + old * (known.seconds - seconds), now)
