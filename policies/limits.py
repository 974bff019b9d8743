"""Limits: are they within their rates?

All limits that apply to a call are asked at once: those of its key, its team and its model. A
call that one of them refuses takes from none. Tokens are estimated before (the prompt, and the
caller's own limit on the answer) and corrected to what the attempts have used.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from types import TracebackType

from gateway.config import RateLimits
from gateway.directory import Directory
from gateway.exchange import JSON, Call, Completion, Ending, Handler, Reply
from gateway.keys import VirtualKey
from gateway.limits.applicable import Applicable
from gateway.limits.demand import Answer, Demand, Grant, Limit, Limited, Limiter
from gateway.limits.queue import Queue
from gateway.limits.refusal import admit
from gateway.tokens import estimate_prompt_tokens
from gateway.trace import AttemptEnded, Paused


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
        demand = self._demand(call, limits)
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
        async with _Held(call, answer.grant) as held:
            reply = await call_next(call)
            if isinstance(reply, Completion):
                await held.end()
            else:
                reply.on_close(held.streamed)
        return reply

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

    def _demand(self, call: Call, limits: Sequence[Limit]) -> Demand:
        rates = tuple(limit for limit in limits if limit.kind != "concurrent")
        concurrent = tuple(limit for limit in limits if limit.kind == "concurrent")
        tokens = 0
        if any(limit.kind == "tokens" for limit in rates):
            tokens = estimate_prompt_tokens(call.body) + self._completion_tokens(call.body)
        return Demand(rates, concurrent, tokens, call.id)

    def _completion_tokens(self, body: JSON) -> int:
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        each = limit or self._settings.expected_completion_tokens
        return int(each * (body.get("n") or 1))


class _Held:
    """What one call holds. Leaving its `async with` by an exception gives it back."""

    def __init__(self, call: Call, grant: Grant) -> None:
        self._call = call
        self._grant = grant

    async def end(self) -> None:
        """The attempts are over, so all that was used is in the trace."""
        usages = [ended.usage for ended in self._call.trace.all(AttemptEnded)]
        await self._grant.end(sum(usage.total_tokens for usage in usages if usage))

    async def streamed(self, ending: Ending) -> None:
        await self.end()

    async def __aenter__(self) -> _Held:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            await self.end()
