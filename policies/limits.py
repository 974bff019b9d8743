"""Limits: are they within their rates?

All limits that apply to a call are asked at once: those of its key, its team and its model. A
call that one of them refuses takes from none. Tokens are estimated before (the prompt, and the
caller's own limit on the answer) and corrected to what the attempts have used.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from gateway.config import RateLimits
from gateway.directory import Directory
from gateway.exchange import Call, Handler, Reply
from gateway.keys import VirtualKey
from gateway.limits.applicable import Applicable
from gateway.limits.demand import Answer, Demand, Limit, Limited, Limiter, demand_of
from gateway.limits.held import Held
from gateway.limits.queue import Queue
from gateway.limits.refusal import admit
from gateway.trace import Paused


class Limits:
    """Takes what a call needs before it goes on, and gives back what it did not use."""

    def __init__(self, settings: RateLimits, limiter: Limiter, directory: Directory) -> None:
        self._settings = settings
        self._limiter = limiter
        self._queue = Queue(
            limiter, max_wait_s=settings.max_wait_s, max_waiting=settings.max_waiting
        )
        self._directory = directory
        self._limits = Applicable(settings)

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        limits = await self._applicable(call)
        if not limits:
            return await call_next(call)
        expected = self._settings.expected_completion_tokens
        demand = demand_of(limits, call.body, call.id, expected)
        if call.dry_run:
            looked = await self._limiter.peek(demand)
            call.trace.add(Limited(looked.verdict, looked.place))
            if not self._queue.would_wait(looked.verdict, call.deadline):
                admit(looked.verdict, demand)
            return await call_next(call)
        answer = await self._take(call, demand)
        call.trace.add(Limited(answer.verdict, answer.place))
        admit(answer.verdict, demand)
        if answer.grant is None:
            raise RuntimeError("admitted, and nothing granted")
        async with Held(answer.grant, call.trace, estimated=demand.tokens) as held:
            return await held.through(await call_next(call))

    async def _take(self, call: Call, demand: Demand) -> Answer:
        key = call.key
        priority = key.setting("priority", 0) if key else 0
        began_s = call.trace.now_s()
        answer = await self._queue.take(demand, priority=priority, deadline=call.deadline)
        if self._settings.max_wait_s:
            call.trace.add(Paused(call.trace.now_s() - began_s))
        return answer

    async def _applicable(self, call: Call) -> Sequence[Limit]:
        key = call.key
        if key is None:
            raise RuntimeError("Keys comes before Limits")
        limits = self._limits.of_key(key)
        if not self._limits.models:
            return limits
        of_models = (self._limits.models[name] for name in await self._model_names(call, key))
        return [*limits, *chain.from_iterable(of_models)]

    async def _model_names(self, call: Call, key: VirtualKey) -> list[str]:
        """The limited names that this call goes by: its alias's, or its model's with and without
        the provider. None for a key that may not use the model: it must not use it up either.
        """
        resolution = await self._directory.resolve(call.model, key)
        if not resolution.allowed_by(key):
            return []
        target = resolution.targets[0]
        names = [resolution.alias] if resolution.alias else [target.name, target.model.name]
        return [name for name in names if name in self._limits.models]
