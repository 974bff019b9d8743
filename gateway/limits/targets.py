"""Targets' limits: has a target room for an attempt?

What a provider allows is known before it answers 429. An attempt takes from all limits of its
target, for whatever caller, and gives back when it is over. To look is to take, in one step: a
look before would be out of date by then, and with Redis a second journey.

A full target is passed over: it is not sick, and there was no attempt. Where all are full, the
call waits in the line of the one that has room first, if calls may wait; else it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.config import RateLimits
from gateway.exchange import Call
from gateway.limits.applicable import limits_of
from gateway.limits.demand import Answer, Demand, Grant, Limit, Limiter, demand_of
from gateway.limits.queue import Queue
from gateway.limits.refusal import admit
from gateway.targets import Target
from gateway.trace import Paused, Skipped

FULL = "limit"  # why a target was skipped


class Room(NamedTuple):
    """A target with room for one attempt, and what that has taken; None where nothing limits it."""

    target: Target
    grant: Grant | None = None


class _Asked(NamedTuple):
    target: Target
    demand: Demand
    answer: Answer

    @property
    def room(self) -> Room:
        return Room(self.target, self.answer.grant)

    @property
    def soon(self) -> tuple[bool, float]:
        """In order of waiting: known waits first, and last what never has room for this call."""
        verdict = self.answer.verdict
        return verdict.never, math.inf if verdict.wait_s is None else verdict.wait_s


class TargetLimits:
    """The limits of `[limits.targets]`. A dry run asks, and takes nothing."""

    def __init__(self, settings: RateLimits, limiter: Limiter) -> None:
        self._settings = settings
        self._limiter = limiter
        self._queue = Queue(
            limiter, max_wait_s=settings.max_wait_s, max_waiting=settings.max_waiting
        )
        self._limits = {
            name: limits_of("target", name, own) for name, own in settings.targets.items()
        }

    async def first(self, call: Call, targets: Iterable[Target], until: float) -> Room:
        """The first of `targets` with room. `until`, on the loop's clock, bounds the waiting.

        Raises `RateLimitExceeded` with the shortest of their waits.
        """
        full: dict[str, _Asked] = {}
        for target in targets:
            limits = self._of(target)
            if not limits:
                return Room(target)
            if target.name not in full:  # with another credential
                asked = await self._ask(call, target, limits)
                if _has_room(call, asked):
                    return asked.room
                full[target.name] = asked
        return await self._wait(call, list(full.values()), until)

    async def at(self, call: Call, target: Target) -> Room | None:
        """Room for an attempt there, at once; None if it is full."""
        limits = self._of(target)
        if not limits:
            return Room(target)
        asked = await self._ask(call, target, limits)
        return asked.room if _has_room(call, asked) else None

    def _of(self, target: Target) -> Sequence[Limit]:
        own = self._limits.get(target.name, ())
        return (*own, *self._limits.get(f"{target.provider.name}/*", ()))

    async def _ask(self, call: Call, target: Target, limits: Sequence[Limit]) -> _Asked:
        slot = f"{call.id}.{call.attempt + 1}"
        demand = demand_of(limits, call.body, slot, self._settings.expected_completion_tokens)
        ask = self._limiter.peek if call.dry_run else self._queue.at_once
        return _Asked(target, demand, await ask(demand))

    async def _wait(self, call: Call, full: list[_Asked], until: float) -> Room:
        waiting = [a for a in full if self._queue.would_wait(a.answer.verdict, until)]
        soonest = min(waiting or full, key=lambda asked: asked.soon)
        if not waiting:
            admit(soonest.answer.verdict, soonest.demand)
        if call.dry_run:
            return Room(soonest.target)
        began_s = call.trace.now_s()
        priority = call.key.setting("priority", 0) if call.key else 0
        answer = await self._queue.take(soonest.demand, priority=priority, deadline=until)
        call.trace.add(Paused(call.trace.now_s() - began_s))
        admit(answer.verdict, soonest.demand)
        return Room(soonest.target, answer.grant)


def _has_room(call: Call, asked: _Asked) -> bool:
    """Of what others wait for, nothing was taken, though there may be some."""
    answer = asked.answer
    if answer.grant is not None or (call.dry_run and answer.verdict.refused_by is None):
        return True
    call.trace.add(Skipped(asked.target.name, FULL))
    return False
