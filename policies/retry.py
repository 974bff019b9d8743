"""Retry: an attempt; again, elsewhere, or give up?

What follows a failure, `gateway.nextattempt` decides by its class. Nothing is retried after a
stream's first event: by then the stream was returned, and what goes wrong in it is raised to its
reader, not here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from gateway.config import Retry as Settings
from gateway.errors import BudgetExceeded, DeadlineExceeded, SluiceError, UpstreamFailure
from gateway.exchange import Call, Handler, Reply
from gateway.health import Attempt, Health
from gateway.nextattempt import NextAttempt, left_after
from gateway.retrybudget import RetryBudget
from gateway.targets import Target
from gateway.trace import AttemptStarted, Paused

_FOLLOWED = (UpstreamFailure, BudgetExceeded)  # by further attempts, perhaps


class Retry:
    """Makes attempts at a call's candidates, in order, until one answers or none may.

    `health` observes every attempt, and may change the order: a target that was benched since is
    taken only when no other is left. A budget caps further attempts at the same target and
    attempts at benched ones; a move to a healthy target is free. A dry run makes the same
    choices, and is neither observed nor counted.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._next = NextAttempt(settings, health, clock, jitter)
        self._health = health
        self._budget = RetryBudget(settings.budget_share, settings.budget_least)
        self._sleep = sleep

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if not self._next.in_time(call):
            raise DeadlineExceeded("The call's deadline leaves no time for an attempt.")
        asked = _started(call, self._next.first(call.candidates))
        counted = not call.dry_run
        self._budget.calls += counted
        try:
            try:
                return await self._attempt(asked, call_next)
            except _FOLLOWED as error:
                failure = error
            return await self._further(asked, call_next, failure)
        finally:
            self._budget.calls -= counted

    async def _attempt(self, asked: Call, call_next: Handler) -> Reply:
        if asked.dry_run:
            return await call_next(asked)
        with Attempt(self._health, asked.chosen, asked.deadline) as observed:
            return observed.answered(await call_next(asked))

    async def _further(self, asked: Call, call_next: Handler, failure: SluiceError) -> Reply:
        """The attempts after the first, which ended with `failure`."""
        left = left_after(asked.candidates, asked, failure)
        tries = 1  # in a row at this target
        with self._budget.allowance() as allowance:
            while True:
                allowance.give_back()
                step = self._next.after(asked, failure, tries, left, allowance)
                if step is None:
                    if asked.attempt > 1:  # what we have repeated in vain, the client need not
                        failure.should_retry = False
                    raise failure
                tries = tries + 1 if step.target is asked.target else 1
                if step.after_s > 0:
                    asked.trace.add(Paused(step.after_s))
                    await self._sleep(step.after_s)
                asked = _started(asked, step.target)
                try:
                    return await self._attempt(asked, call_next)
                except _FOLLOWED as error:
                    failure = error
                left = left_after(left, asked, failure)


def _started(call: Call, target: Target) -> Call:
    """The call as this attempt at it."""
    number = call.attempt + 1
    call.trace.add(AttemptStarted(number, target, call.trace.now_s()))
    return call.with_(target=target, attempt=number)
