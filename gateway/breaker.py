"""Breakers: is a thing that has been failing worth another try?

    closed ──enough failures──▶ benched ──its time is over──▶ probing ──success──▶ closed
                                   ▲                             │
                                   └────────── failure, longer ──┘

Enough are `consecutive_failures` in a row, or `error_share` of at least `min_attempts` within the
window. One probe goes out at a time. Each bench is twice as long as the one before, up to a most;
nothing shortens one that is running. The one before is forgotten once it has been well for as long
as the longest bench.

A breaker has no timer: it looks at the clock when it is asked. The window is two halves, so that
counting costs the same however many attempts there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "probing", "benched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a breaker opens, and for how long. Shares are of 1, times are seconds."""

    consecutive_failures: int
    error_share: float
    min_attempts: int
    window_s: float
    bench_s: float
    max_bench_s: float


class Breaker:
    """One breaker. All times are given by the caller, on one clock.

    `epoch` counts the benches, so that the success of an attempt from before one ends nothing.
    """

    __slots__ = (
        "_failures",
        "_half_began",
        "_length_s",
        "_now_half",
        "_old_half",
        "_rules",
        "_well_since",
        "benched_at",
        "epoch",
        "probes",
        "until",
    )

    def __init__(self, rules: Rules, now: float) -> None:
        self._rules = rules
        self._failures = 0  # in a row
        self._half_began = now
        self._now_half = [0, 0]  # attempts, failures
        self._old_half = [0, 0]
        self._length_s = 0.0  # of the last bench
        self._well_since = now
        self.benched_at: float | None = None
        self.until = now
        self.epoch = 0
        self.probes = 0

    def state(self, now: float) -> State:
        """Closed; or benched; or its bench is over, and a probe will tell, or is telling."""
        if self.benched_at is None:
            return "closed"
        return "benched" if now < self.until else "probing"

    def usable(self, now: float) -> bool:
        """May an attempt go there? Of probes one at a time."""
        return self.benched_at is None or (now >= self.until and self.probes == 0)

    def recent(self, now: float) -> tuple[int, int]:
        """Attempts and failures within about the window, since the first failure."""
        if now - self._half_began >= self._rules.window_s:
            return 0, 0
        attempts, failures = map(sum, zip(self._now_half, self._old_half, strict=True))
        return attempts, failures

    def begin(self) -> bool:
        """An attempt begins; is it a probe? One is over when `probes` is counted down."""
        probe = self.benched_at is not None
        self.probes += probe
        return probe

    def succeeded(self, now: float, epoch: int) -> None:
        """An attempt that was begun in `epoch` went well."""
        if self.benched_at is not None:
            if epoch == self.epoch:
                self._close(now)
            return
        self._count(now, failed=False)
        self._failures = 0

    def failed(self, now: float, epoch: int, at_least_s: float = 0.0) -> None:
        """An attempt that was begun in `epoch` failed. `at_least_s`: what the provider asked for.

        One from before the bench says nothing new, unless it asks for more time.
        """
        if self.benched_at is not None:
            if epoch == self.epoch and now >= self.until:
                self.trip(now, at_least_s)
            self.until = max(self.until, now + min(at_least_s, self._rules.max_bench_s))
            return
        self._count(now, failed=True)
        self._failures += 1
        if self._failures >= self._rules.consecutive_failures or self._share_is_too_high():
            self.trip(now, at_least_s)

    def trip(self, now: float, at_least_s: float = 0.0) -> None:
        """Bench it now. A running bench is never shortened."""
        longest = self._rules.max_bench_s
        if self.benched_at is None and now - self._well_since >= longest:
            self._length_s = 0.0
        wanted = max(self._rules.bench_s, 2 * self._length_s, at_least_s)
        self._length_s = min(longest, wanted)
        self.benched_at = now
        self.until = max(self.until, now + self._length_s)
        self.epoch += 1
        self._failures = 0

    def _close(self, now: float) -> None:
        self.benched_at = None
        self._well_since = now
        self._failures = 0
        self._half_began = now
        self._now_half, self._old_half = [0, 0], [0, 0]

    def _count(self, now: float, *, failed: bool) -> None:
        age = now - self._half_began
        if age >= self._rules.window_s / 2:
            self._old_half = [0, 0] if age >= self._rules.window_s else self._now_half
            self._now_half = [0, 0]
            self._half_began = now
        self._now_half[0] += 1
        self._now_half[1] += failed

    def _share_is_too_high(self) -> bool:
        attempts = self._now_half[0] + self._old_half[0]
        failures = self._now_half[1] + self._old_half[1]
        return (
            attempts >= self._rules.min_attempts and failures >= self._rules.error_share * attempts
        )
