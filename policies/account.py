"""Account: what did this attempt cost?

Before an attempt its intent is committed; afterwards it is settled by its ending: refused before
any work costs nothing, a usage that the provider counted costs exactly that, and where the
request went out but no usage came back, an estimate is charged and flagged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType

from gateway.errors import SluiceError, UpstreamFailure
from gateway.exchange import Call, Completion, Ending, Handler, Reply, cancel_reason
from gateway.ledger import Accounts, Intent, Settlement
from gateway.meter import Meter, Pace
from gateway.tokens import bound_completion_tokens, bound_prompt_tokens
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, NeverSent
from gateway.usage import Usage

# What an attempt is bound to where neither the caller nor anybody's table names a longest answer.
UNKNOWN_LIMIT_TOKENS = 16_384


class Account:
    """Opens a charge before each attempt and settles it after, exactly once."""

    def __init__(
        self, accounts: Accounts, pace: Pace, now: Callable[[], float] = time.time
    ) -> None:
        self._accounts = accounts
        self._pace = pace
        self._now = now

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if call.dry_run:
            return await call_next(call)
        charge = Charge(call, self._accounts, self._pace, self._now)
        await charge.open()
        async with charge:
            reply = await call_next(call)
            if isinstance(reply, Completion):
                await charge.completed(reply)
            else:
                reply.through(charge.meter.watch)
                reply.on_close(charge.streamed)
        return reply


class Charge:
    """The charge of one attempt. Leaving its `async with` by an exception settles it."""

    def __init__(
        self, call: Call, accounts: Accounts, pace: Pace, now: Callable[[], float]
    ) -> None:
        self.id = f"{call.id}.{call.attempt}"
        self.meter = Meter(call, pace)
        self._call = call
        self._accounts = accounts
        self._pace = pace
        self._now = now
        self._settled = False

    async def open(self) -> None:
        """Commit the intent. Raises `Unavailable`: then the provider must not be called."""
        await self._accounts.open(self._intent())

    async def completed(self, completion: Completion) -> None:
        """An unstreamed answer is here."""
        usage = completion.usage
        if usage:
            target = self._call.chosen
            self._pace.observe(target, usage.completion_tokens, self.meter.elapsed_s())
        await self._settle(usage or self.meter.estimate_of(completion), None)

    async def streamed(self, ending: Ending) -> None:
        """A streamed answer is over."""
        usage = self.meter.usage(whole=ending.how == "finished")
        if ending.how == "abandoned":
            error: str | None = "client_gone"
        else:
            error = ending.error.kind if ending.error else None
        await self._settle(usage, error)

    async def __aenter__(self) -> Charge:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, UpstreamFailure):
            await self._settle(self.meter.estimate() if error.billable else None, error.kind)
        elif isinstance(error, SluiceError):
            await self._settle(None, error.kind)
        elif isinstance(error, asyncio.CancelledError):
            never_sent = self._call.trace.last(NeverSent)
            unsent = never_sent is not None and never_sent.number == self._call.attempt
            await self._settle(None if unsent else self.meter.estimate(), cancel_reason(error))
        elif error is not None:
            await self._settle(self.meter.estimate(), "internal_error")

    def _intent(self) -> Intent:
        call, target = self._call, self._call.chosen
        key = call.key
        if key is None:
            raise RuntimeError("Keys comes before Account")
        return Intent(
            charge_id=self.id,
            call_id=call.id,
            attempt=call.attempt,
            key_id=key.id,
            team=key.team,
            tags=call.tags,
            asked_model=call.model,
            provider=target.provider.name,
            model=target.model.name,
            credential=target.credential.name,
            price=target.model.price,
            bound_nano_usd=_bound_nano_usd(call),
            opened_at_ms=int(self._now() * 1000),
        )

    async def _settle(self, usage: Usage | None, error: str | None) -> None:
        """Once. The settlement is on its way before this suspends, so a cancellation is safe."""
        if self._settled:
            return
        self._settled = True
        trace = self._call.trace
        cost = _cost_nano_usd(self._call, usage)
        trace.add(
            AttemptEnded(
                number=self._call.attempt,
                charge_id=self.id,
                at_s=trace.now_s(),
                error=error,
                usage=usage,
                cost_nano_usd=cost,
            )
        )
        await self._accounts.settle(
            Settlement(
                charge_id=self.id,
                usage=usage,
                cost_nano_usd=cost,
                error=error,
                settled_at_ms=int(self._now() * 1000),
                first_event_ms=self._first_event_ms(),
                duration_ms=round(self.meter.elapsed_s() * 1000),
            )
        )

    def _first_event_ms(self) -> int | None:
        sent = self._call.trace.last(AttemptSent)
        answered = self._call.trace.last(AttemptAnswered)
        if sent is None or answered is None or answered.number != self._call.attempt:
            return None
        return round((answered.at_s - sent.at_s) * 1000)


def _bound_nano_usd(call: Call) -> int | None:
    """The worst case of an attempt; None where the price is unknown."""
    model = call.chosen.model
    if model.price is None:
        return None
    completion = bound_completion_tokens(call.body, model)
    if completion is None:
        completion = UNKNOWN_LIMIT_TOKENS * (call.body.get("n") or 1)
    return model.price.bound_nano_usd(bound_prompt_tokens(call.body), completion)


def _cost_nano_usd(call: Call, usage: Usage | None) -> int | None:
    """What a usage costs; None where the price is unknown. No usage, no cost."""
    if usage is None:
        return 0
    price = call.chosen.model.price
    return price.cost_nano_usd(usage) if price else None
