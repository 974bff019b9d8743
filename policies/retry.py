"""Retry: again, elsewhere, or give up? The error's class decides.

The rules' defaults are the table of `docs/errors.md`; `[retry.rules.KIND]` overrides a row.
Nothing is retried after a stream's first event: by then the stream was returned, and what goes
wrong in it is raised to its reader, not here. One deadline covers everything.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.config import DEFAULT_RULES
from gateway.config import Retry as RetrySettings
from gateway.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    RateLimited,
    SluiceError,
    UpstreamFailure,
)
from gateway.exchange import Call, Handler, Reply
from gateway.health import Attempt, Health
from gateway.picking import followers, wide_enough
from gateway.retrybudget import Allowance, RetryBudget
from gateway.targets import Target
from gateway.trace import AttemptStarted, Paused
from gateway.worstcase import cheaper

_FOLLOWED = (UpstreamFailure, BudgetExceeded)  # by further attempts, perhaps


class Retry:
    """Makes attempts at a call's candidates, in order, until one answers or none may.

    `health` observes every attempt, and may change the order: a target that was benched since is
    taken only when no other is left. `budget` caps further attempts at the same target and
    attempts at benched ones; a move to a healthy target is free.
    """

    def __init__(
        self,
        settings: RetrySettings,
        health: Health,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._rules = {**DEFAULT_RULES, **settings.rules}
        self._health = health
        self._budget = RetryBudget(settings.budget_share, settings.budget_least)
        self._clock = clock or _loop_time
        self._sleep = sleep
        self._jitter = jitter

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if not self._in_time(call, 0.0):
            raise DeadlineExceeded("The call's deadline leaves no time for an attempt.")
        asked = self._attempt(call, self._first(call.candidates))
        if call.dry_run:
            return await call_next(asked)
        self._budget.calls += 1
        try:
            try:
                with Attempt(self._health, asked.chosen, call.deadline) as observed:
                    return observed.answered(await call_next(asked))
            except _FOLLOWED as error:
                failure = error
            return await self._further(asked, call_next, failure)
        finally:
            self._budget.calls -= 1

    def _attempt(self, call: Call, target: Target) -> Call:
        number = call.attempt + 1
        call.trace.add(AttemptStarted(number, target, call.trace.now_s()))
        return call.with_(target=target, attempt=number)

    async def _further(self, asked: Call, call_next: Handler, failure: SluiceError) -> Reply:
        """The attempts after the first, which ended with `failure`."""
        left = [candidate for candidate in asked.candidates if candidate is not asked.target]
        tries = 1  # in a row at this target
        with self._budget.allowance() as allowance:
            while True:
                allowance.give_back()
                if isinstance(failure, UpstreamFailure):
                    left = wide_enough(left, asked.chosen, failure)
                    step = self._decide(asked, failure, tries, left, allowance)
                else:
                    step = self._cheaper(asked, left)
                if step is None:
                    if asked.attempt > 1:  # what we have repeated in vain, the client need not
                        failure.should_retry = False
                    raise failure
                tries = tries + 1 if step.target is asked.target else 1
                left = [candidate for candidate in left if candidate is not step.target]
                if step.after_s > 0:
                    asked.trace.add(Paused(step.after_s))
                    await self._sleep(step.after_s)
                asked = self._attempt(asked, step.target)
                try:
                    with Attempt(self._health, step.target, asked.deadline) as observed:
                        return observed.answered(await call_next(asked))
                except _FOLLOWED as error:
                    failure = error

    def _decide(
        self,
        call: Call,
        failure: UpstreamFailure,
        tries: int,
        left: list[Target],
        allowance: Allowance,
    ) -> _Step | None:
        """What comes after a failed attempt; None to give up."""
        if call.attempt >= self._settings.max_attempts or not self._in_time(call, 0.0):
            return None
        rule, target = self._rules[failure.kind], call.chosen
        others = followers(left, target, failure, rule)
        other = self._best(others) if others else None
        well = other is not None and self._health.usable(other)
        pause_s = self._pause_s(failure, tries)
        here = tries <= rule.same_target and self._in_time(call, pause_s)
        if well and (isinstance(failure, RateLimited) or not self._health.usable(target)):
            here = False
        if here and allowance.take():
            return _Step(target, pause_s)
        if other is not None and (well or allowance.take()):
            return _Step(other, 0.0)
        return None

    def _cheaper(self, call: Call, left: list[Target]) -> _Step | None:
        """Where a budget has no room for an attempt there may be some for a cheaper one."""
        others = cheaper(call, left) if self._in_time(call, 0.0) else []
        return _Step(self._best(others), 0.0) if others else None

    def _first(self, candidates: Sequence[Target]) -> Target:
        if len(candidates) == 1:
            return candidates[0]
        return self._best([t for t in candidates if not t.fallback_on] or candidates)

    def _best(self, targets: Sequence[Target]) -> Target:
        return next((t for t in targets if self._health.usable(t)), targets[0])

    def _in_time(self, call: Call, pause_s: float) -> bool:
        """Could an attempt after this pause come to an end?"""
        return self._clock() + pause_s + self._settings.min_attempt_s < call.deadline

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


class _Step(NamedTuple):
    target: Target
    after_s: float
