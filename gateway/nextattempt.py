"""The next attempt: what comes after one that failed, and when?

The error's class decides. The rules' defaults are the table of `docs/errors.md`;
`[retry.rules.KIND]` overrides a row. One deadline covers everything.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.config import DEFAULT_RULES
from gateway.config import Retry as Settings
from gateway.errors import RateLimited, SluiceError, UpstreamFailure
from gateway.exchange import Call
from gateway.health import Health
from gateway.picking import followers, wide_enough
from gateway.retrybudget import Allowance
from gateway.targets import Target
from gateway.worstcase import cheaper


class Step(NamedTuple):
    """An attempt at `target`, after a pause."""

    target: Target
    after_s: float


class NextAttempt:
    """Chooses targets by what `health` knows of them. Changes nothing but an allowance."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        clock: Callable[[], float] | None,
        jitter: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._rules = {**DEFAULT_RULES, **settings.rules}
        self._health = health
        self._clock = clock or _loop_time
        self._jitter = jitter

    def in_time(self, call: Call, pause_s: float = 0.0) -> bool:
        """Could an attempt after this pause come to an end?"""
        return self._clock() + pause_s + self._settings.min_attempt_s < call.deadline

    def first(self, candidates: Sequence[Target]) -> Target:
        """Where the first attempt goes."""
        if len(candidates) == 1:
            return candidates[0]
        return self._best([t for t in candidates if not t.fallback_on] or candidates)

    def after(
        self,
        asked: Call,
        failure: SluiceError,
        tries: int,
        left: list[Target],
        allowance: Allowance,
    ) -> Step | None:
        """What follows an attempt that failed, `tries` of them in a row there; None to give up.

        `left` are the other targets that were not tried. Where a budget has no room for an
        attempt there may be some for a cheaper one. Of a dry run nothing else is followed.
        """
        if isinstance(failure, UpstreamFailure):
            return None if asked.dry_run else self._next(asked, failure, tries, left, allowance)
        others = cheaper(asked, left) if self.in_time(asked) else []
        return Step(self._best(others), 0.0) if others else None

    def _next(
        self,
        asked: Call,
        failure: UpstreamFailure,
        tries: int,
        left: list[Target],
        allowance: Allowance,
    ) -> Step | None:
        if asked.attempt >= self._settings.max_attempts or not self.in_time(asked):
            return None
        rule, target = self._rules[failure.kind], asked.chosen
        others = followers(left, target, failure, rule)
        other = self._best(others) if others else None
        well = other is not None and self._health.usable(other)
        pause_s = self._pause_s(failure, tries)
        here = tries <= rule.same_target and self.in_time(asked, pause_s)
        if well and (isinstance(failure, RateLimited) or not self._health.usable(target)):
            here = False
        if here and allowance.take():
            return Step(target, pause_s)
        if other is not None and (well or allowance.take()):
            return Step(other, 0.0)
        return None

    def _best(self, targets: Sequence[Target]) -> Target:
        return next((t for t in targets if self._health.usable(t)), targets[0])

    def _pause_s(self, failure: UpstreamFailure, tries: int) -> float:
        """The provider's own wish, else an exponential back-off with full jitter."""
        if failure.retry_after_s is not None:
            wish = failure.retry_after_s
            return wish if wish <= self._settings.max_retry_after_s else math.inf
        ceiling = min(self._settings.max_s, self._settings.base_s * 2 ** (tries - 1))
        return float(ceiling * self._jitter())


def left_after(left: Sequence[Target], asked: Call, failure: SluiceError) -> list[Target]:
    """The targets that are left when an attempt has failed, for good."""
    others = [target for target in left if target is not asked.target]
    if isinstance(failure, UpstreamFailure):
        return wide_enough(others, asked.chosen, failure)
    return others


def _loop_time() -> float:
    """Deadlines are on the loop's clock, which on macOS is another one than `time.monotonic`."""
    return asyncio.get_running_loop().time()
