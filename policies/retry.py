"""Retry: an attempt; again, elsewhere, or give up?

What follows a failure, `gateway.nextattempt` decides by its class. Nothing is retried after a
stream's first event: by then the stream was returned, and what goes wrong in it is raised to its
reader, not here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.config import Retry as Settings
from gateway.errors import DeadlineExceeded
from gateway.exchange import Call, Handler, Reply
from gateway.health import Attempt, Health
from gateway.hedging import Race, hedging
from gateway.limits.demand import Grant
from gateway.limits.held import Held
from gateway.limits.targets import Room, TargetLimits
from gateway.nextattempt import FOLLOWED, Course, NextAttempt
from gateway.retrybudget import RetryBudget
from gateway.targets import Target
from gateway.trace import AttemptStarted, Paused


class Retry:
    """Makes attempts at a call's candidates, in order, until one answers or none may.

    `health` observes every attempt, and may change the order: a target that was benched since is
    taken only when no other is left. A budget caps further attempts at the same target and
    attempts at benched ones; a move to a healthy target is free. Targets that `limits` says are
    full are passed over. A dry run makes the same choices, and is neither observed nor counted.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        *,
        limits: TargetLimits | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._next = NextAttempt(settings, health, clock, jitter)
        self._health = health
        self._limits = limits
        self._budget = RetryBudget(settings.budget_share, settings.budget_least)
        self._hedging = hedging(settings, health)
        self._sleep = sleep

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if not self._next.in_time(call):
            raise DeadlineExceeded("The call's deadline leaves no time for an attempt.")
        targets = self._next.order(call.candidates)
        if self._limits is None:
            room = Room(targets[0])
        else:
            room = await self._limits.first(call, targets, self._next.latest(call))
        counted = not call.dry_run
        self._budget.calls += counted
        try:
            return await self._answer(call, room, call_next)
        finally:
            self._budget.calls -= counted

    async def _answer(self, call: Call, room: Room, call_next: Handler) -> Reply:
        slow_s = self._hedging.delay_s(call, room.target.name) if self._hedging else None
        if slow_s is None:
            asked = _started(call, room.target)
            try:
                return await self._attempt(asked, call_next, room.grant)
            except FOLLOWED as error:
                course = Course(asked, error)
        else:
            race = Race(call, slow_s, self._sleep)
            try:
                return await race.run(
                    lambda call: self._attempt(_started(call, room.target), call_next, room.grant),
                    lambda call: self._beside(call, room.target, call_next),
                )
            except FOLLOWED as error:
                course = race.lost(room.target, error)
        return await self._further(course, call_next)

    async def _beside(self, call: Call, slow: Target, call_next: Handler) -> Reply | None:
        """A second attempt while the first is under way, if it may be made."""
        target = self._next.beside(call, slow)
        with self._budget.allowance() as allowance:
            if target is None or not allowance.take():
                return None
            first = call.with_(attempt=1)
            room = await self._room(first, target)
            if room is None:
                return None
            return await self._attempt(_started(first, target), call_next, room.grant)

    async def _further(self, course: Course, call_next: Handler) -> Reply:
        """The attempts after the first."""
        with self._budget.allowance() as allowance:
            while True:
                allowance.give_back()
                step = self._next.after(course, allowance)
                if step is None:
                    raise course.final()
                if step.after_s > 0:
                    course.asked.trace.add(Paused(step.after_s))
                    await self._sleep(step.after_s)
                room = await self._room(course.asked, step.target)
                if room is None:
                    course.full(step.target.name)
                    continue
                asked = _started(course.asked, step.target)
                try:
                    return await self._attempt(asked, call_next, room.grant)
                except FOLLOWED as error:
                    course.failed(asked, error)

    async def _room(self, call: Call, target: Target) -> Room | None:
        return Room(target) if self._limits is None else await self._limits.at(call, target)

    def _attempt(
        self, asked: Call, call_next: Handler, grant: Grant | None
    ) -> Coroutine[Any, Any, Reply]:
        if grant is None:
            return self._observed(asked, call_next)
        return self._holding(grant, asked, call_next)

    async def _holding(self, grant: Grant, asked: Call, call_next: Handler) -> Reply:
        async with Held(grant, asked.trace, asked.attempt) as held:
            return await held.through(await self._observed(asked, call_next))

    async def _observed(self, asked: Call, call_next: Handler) -> Reply:
        if asked.dry_run:
            return await call_next(asked)
        with Attempt(self._health, asked.chosen, asked.deadline) as observed:
            if self._hedging is None or asked.stream:
                return observed.answered(await call_next(asked))
            with self._hedging.timed(asked):
                return observed.answered(await call_next(asked))


def _started(call: Call, target: Target) -> Call:
    """The call as this attempt at it."""
    number = call.attempt + 1
    call.trace.add(AttemptStarted(number, target, call.trace.now_s()))
    return call.with_(target=target, attempt=number)
