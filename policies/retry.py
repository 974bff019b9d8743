"""Retry: again, elsewhere, or give up? The error's class decides.

The rules' defaults are the table of `docs/errors.md`; `[retry.rules.KIND]` overrides a row.
Nothing is retried after a stream's first event: by then the stream was returned, and what goes
wrong in it is raised to its reader, not here. One deadline covers everything.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from gateway.config import Retry as RetrySettings
from gateway.config import RetryRule
from gateway.errors import BudgetExceeded, DeadlineExceeded, RateLimited, UpstreamFailure
from gateway.exchange import Call, Handler, Reply
from gateway.health import Health
from gateway.picking import followers, wide_enough
from gateway.retrybudget import Allowance, RetryBudget
from gateway.targets import Target
from gateway.trace import AttemptStarted, Paused
from gateway.worstcase import cheaper

_TRANSIENT = RetryRule(same_target=2, next_target=True)
_ELSEWHERE = RetryRule(same_target=0, next_target=True)
_FINAL = RetryRule(same_target=0, next_target=False)

DEFAULT_RULES: Mapping[str, RetryRule] = {
    "connection": _TRANSIENT,
    "timeout": _TRANSIENT,
    "overloaded": _TRANSIENT,
    "server_error": _TRANSIENT,
    "response_parsing": _TRANSIENT,
    "tool_call": _TRANSIENT,
    "rate_limit": _TRANSIENT,  # the next target at once, when there is one
    "quota_exceeded": _ELSEWHERE,
    "authentication": _ELSEWHERE,
    "permission": _ELSEWHERE,
    "upstream_model_not_found": _ELSEWHERE,
    "invalid_configuration": _ELSEWHERE,
    "context_window": _ELSEWHERE,  # only where the window is larger
    "invalid_prompt": _FINAL,
    "content_filter": _FINAL,
}


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
        first = self._best([t for t in call.candidates if not t.fallback_on] or call.candidates)
        if call.dry_run:
            call.trace.add(AttemptStarted(1, first, call.trace.now_s()))
            return await call_next(call.with_(target=first, attempt=1))
        with self._budget.call() as allowance:
            return await self._attempts(call, call_next, first, allowance)

    async def _attempts(
        self, call: Call, call_next: Handler, target: Target, allowance: Allowance
    ) -> Reply:
        left = [candidate for candidate in call.candidates if candidate is not target]
        tries = attempt = 1
        while True:
            call.trace.add(AttemptStarted(attempt, target, call.trace.now_s()))
            asked = call.with_(target=target, attempt=attempt)
            try:
                with self._health.attempt(target, call.deadline) as observed:
                    return observed.answered(await call_next(asked))
            except BudgetExceeded:  # nothing was sent: a cheaper target may have room
                left = cheaper(asked, left)
                if not left or attempt >= self._settings.max_attempts:
                    raise
                target, tries, attempt = left.pop(0), 1, attempt + 1
                continue
            except UpstreamFailure as failure:
                left = wide_enough(left, target, failure)
                step = self._decide(asked, failure, tries, left, allowance)
                if step is None:
                    if attempt > 1:  # what we have repeated in vain, the client need not
                        failure.should_retry = False
                    raise
            if step.target is not target:
                target, tries = step.target, 0
                left = [candidate for candidate in left if candidate is not target]
            if step.after_s > 0:
                call.trace.add(Paused(step.after_s))
                await self._sleep(step.after_s)
            tries, attempt = tries + 1, attempt + 1

    def _decide(
        self,
        call: Call,
        failure: UpstreamFailure,
        tries: int,
        left: list[Target],
        allowance: Allowance,
    ) -> _Step | None:
        """What comes after a failed attempt; None to give up."""
        allowance.give_back()
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
