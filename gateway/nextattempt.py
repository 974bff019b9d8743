"""The next attempt: what comes after one that failed, and when?

The error's class decides. The rules' defaults are the table of `docs/errors.md`;
`[retry.rules.KIND]` overrides a row. One deadline covers everything.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from gateway.config import DEFAULT_RULES, RetryRule
from gateway.config import Retry as Settings
from gateway.errors import BudgetExceeded, RateLimited, SluiceError, UpstreamFailure
from gateway.exchange import Call
from gateway.health import Health
from gateway.picking import followers, wide_enough
from gateway.retrybudget import Allowance
from gateway.targets import Target
from gateway.worstcase import cheaper

FOLLOWED = (UpstreamFailure, BudgetExceeded)  # by further attempts, perhaps


class Step(NamedTuple):
    """An attempt at `target`, after a pause."""

    target: Target
    after_s: float


class Course:
    """Where a call stands: the attempt that failed last, and the targets that are left.

    `tries` counts the attempts in a row at its target; None where no further one has room there.
    """

    __slots__ = ("asked", "failure", "left", "tries")

    def __init__(self, asked: Call, failure: SluiceError, tried: Collection[Target] = ()) -> None:
        self.asked = asked
        self.tries: int | None = 0
        self.left = [target for target in asked.candidates if target not in tried]
        self.failed(asked, failure)

    def failed(self, asked: Call, failure: SluiceError) -> None:
        """A further attempt has failed."""
        again = asked.target is self.asked.target
        self.tries = (self.tries or 0) + 1 if again else 1
        self.asked, self.failure = asked, failure
        self.left = [target for target in self.left if target is not asked.target]
        if isinstance(failure, UpstreamFailure):
            self.left = wide_enough(self.left, asked.chosen, failure)

    def full(self, name: str) -> None:
        """A target has no room: it is passed over."""
        if name == self.asked.chosen.name:
            self.tries = None
        self.left = [target for target in self.left if target.name != name]

    def final(self) -> SluiceError:
        """The error that the call ends with."""
        if self.asked.attempt > 1:  # what we have repeated in vain, the client need not
            self.failure.should_retry = False
        return self.failure


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
        return self._clock() + pause_s < self.latest(call)

    def latest(self, call: Call) -> float:
        """When the last attempt has to begin, on the clock of deadlines."""
        return call.deadline - self._settings.min_attempt_s

    def order(self, candidates: Sequence[Target]) -> Sequence[Target]:
        """Where the first attempt may go, in order: benched targets last."""
        if len(candidates) == 1:
            return candidates
        own = [target for target in candidates if not target.fallback_on] or candidates
        return sorted(own, key=lambda target: not self._health.usable(target))

    def beside(self, call: Call, first: Target) -> Target | None:
        """Where a second attempt goes while the first is under way: to another healthy target of
        the same alias; if there is none, to this one again, with another credential if it has one.
        """
        if not self.in_time(call):
            return None
        own = [
            t for t in call.candidates if t.fallback == first.fallback and self._health.usable(t)
        ]
        return min(own, key=lambda t: (t.name == first.name, t is first), default=None)

    def after(self, course: Course, allowance: Allowance) -> Step | None:
        """What follows a failure; None to give up.

        Where a budget has no room for an attempt there may be some for a cheaper one. Of a dry
        run nothing else is followed.
        """
        asked, failure = course.asked, course.failure
        if isinstance(failure, UpstreamFailure):
            return None if asked.dry_run else self._next(course, failure, allowance)
        others = cheaper(asked, course.left) if self.in_time(asked) else []
        return Step(self._best(others), 0.0) if others else None

    def _next(self, course: Course, failure: UpstreamFailure, allowance: Allowance) -> Step | None:
        asked, target = course.asked, course.asked.chosen
        if asked.attempt >= self._settings.max_attempts or not self.in_time(asked):
            return None
        rule = self._rules[failure.kind]
        others = followers(course.left, target, failure, rule)
        other = self._best(others) if others else None
        well = other is not None and self._health.usable(other)
        here = self._here(course, failure, rule)
        if well and (isinstance(failure, RateLimited) or not self._health.usable(target)):
            here = None
        if here is not None and allowance.take():
            return here
        if other is not None and (well or allowance.take()):
            return Step(other, 0.0)
        return None

    def _here(self, course: Course, failure: UpstreamFailure, rule: RetryRule) -> Step | None:
        """A further attempt at the same target, if its rule, its limits and the deadline allow."""
        if course.tries is None or course.tries > rule.same_target:
            return None
        pause_s = self._pause_s(failure, course.tries)
        if not self.in_time(course.asked, pause_s):
            return None
        return Step(course.asked.chosen, pause_s)

    def _best(self, targets: Sequence[Target]) -> Target:
        return next((t for t in targets if self._health.usable(t)), targets[0])

    def _pause_s(self, failure: UpstreamFailure, tries: int) -> float:
        """The provider's own wish, else an exponential back-off with full jitter."""
        if failure.retry_after_s is not None:
            wish = failure.retry_after_s
            return wish if wish <= self._settings.max_retry_after_s else math.inf
        ceiling = min(self._settings.max_s, self._settings.base_s * 2 ** (tries - 1))
        return float(ceiling * self._jitter())


def _loop_time() -> float:
    """Deadlines are on the loop's clock, which on macOS is another one than `time.monotonic`."""
    return asyncio.get_running_loop().time()
