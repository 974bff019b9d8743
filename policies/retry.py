"""Retry: again, elsewhere, or give up? The error's class decides.

The rules' defaults are the table of `docs/errors.md`; `[retry.rules.KIND]` overrides a row.
Nothing is retried after a stream's first event: by then the stream was returned, and what goes
wrong in it is raised to its reader, not here. One deadline covers everything.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from gateway.config import Retry as RetrySettings
from gateway.config import RetryRule
from gateway.errors import ContextWindowExceeded, DeadlineExceeded, RateLimited, UpstreamFailure
from gateway.exchange import Call, Handler, Reply
from gateway.targets import Target
from gateway.trace import AttemptStarted, Paused

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
    """Makes attempts at a call's candidates, in order, until one answers or none may."""

    def __init__(
        self,
        settings: RetrySettings,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._rules = {**DEFAULT_RULES, **settings.rules}
        self._clock = clock or _loop_time
        self._sleep = sleep
        self._jitter = jitter

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if self._clock() >= call.deadline:
            raise DeadlineExceeded("The call's deadline passed before it could be sent.")
        targets = list(call.candidates)
        target, tries, attempt = targets.pop(0), 1, 1
        while True:
            call.trace.add(AttemptStarted(attempt, target, call.trace.now_s()))
            try:
                return await call_next(call.with_(target=target, attempt=attempt))
            except UpstreamFailure as failure:
                targets = _eligible(targets, target, failure)
                step = self._decide(call, failure, tries, attempt, targets)
                if step is None:
                    if attempt > 1:  # what we have repeated in vain, the client need not
                        failure.should_retry = False
                    raise
            if step.move_on:
                target, tries = targets.pop(0), 0
            if step.after_s > 0:
                call.trace.add(Paused(step.after_s))
                await self._sleep(step.after_s)
            tries, attempt = tries + 1, attempt + 1

    def _decide(
        self, call: Call, failure: UpstreamFailure, tries: int, attempt: int, targets: list[Target]
    ) -> _Step | None:
        """What comes after a failure; None to give up."""
        rule = self._rules[failure.kind]
        if attempt >= self._settings.max_attempts:
            return None
        now = self._clock()
        pause_s = self._pause_s(failure, tries)
        here = tries <= rule.same_target and now + pause_s < call.deadline
        elsewhere = rule.next_target and bool(targets) and now < call.deadline
        if elsewhere and (not here or isinstance(failure, RateLimited)):
            return _Step(move_on=True, after_s=0.0)
        return _Step(move_on=False, after_s=pause_s) if here else None

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
    move_on: bool
    after_s: float


def _eligible(targets: list[Target], failed: Target, failure: UpstreamFailure) -> list[Target]:
    """The targets that could do better: after an overlong prompt, those with a larger window."""
    if not isinstance(failure, ContextWindowExceeded):
        return targets
    window = failed.model.context_window or 0
    return [t for t in targets if (t.model.context_window or math.inf) > window]
