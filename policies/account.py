"""Account: what did this attempt cost?

Before an attempt its intent is committed, with its worst case held in the budgets that it draws
on; afterwards it is settled by its ending: refused before any work costs nothing, a usage that the
provider counted costs exactly that, and where the request went out but no usage came back, an
estimate is charged and flagged.
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
from gateway.spending import Opened, Spending
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, NeverSent
from gateway.usage import Usage
from gateway.worstcase import bound_nano_usd


class Account:
    """Opens a charge before each attempt and settles it after, exactly once."""

    def __init__(
        self,
        accounts: Accounts,
        spending: Spending,
        pace: Pace,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._spending = spending
        self._pace = pace
        self._now = now

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        intent = _intent(call, int(self._now() * 1000))
        if call.dry_run:
            await self._spending.peek(call, intent)
            return await call_next(call)
        opened = await self._spending.open(call, intent)
        charge = Charge(opened, self._accounts, self._pace, self._now)
        async with charge:
            reply = await call_next(opened.call)
            if isinstance(reply, Completion):
                await charge.completed(reply)
            else:
                reply.through(charge.meter.watch)
                reply.on_close(charge.streamed)
        return reply


class Charge:
    """The charge of one attempt. Leaving its `async with` by an exception settles it."""

    def __init__(
        self, opened: Opened, accounts: Accounts, pace: Pace, now: Callable[[], float]
    ) -> None:
        self.meter = Meter(opened.call, pace)
        self._call = opened.call
        self._budgeted = opened.budgeted
        self._accounts = accounts
        self._pace = pace
        self._now = now
        self._settled = False

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
                charge_id=_charge_id(self._call),
                at_s=trace.now_s(),
                error=error,
                usage=usage,
                cost_nano_usd=cost,
            )
        )
        await self._accounts.settle(
            Settlement(
                charge_id=_charge_id(self._call),
                usage=usage,
                cost_nano_usd=cost,
                error=error,
                settled_at_ms=int(self._now() * 1000),
                first_event_ms=self._first_event_ms(),
                duration_ms=round(self.meter.elapsed_s() * 1000),
                budgeted=self._budgeted,
            )
        )

    def _first_event_ms(self) -> int | None:
        sent = self._call.trace.last(AttemptSent)
        answered = self._call.trace.last(AttemptAnswered)
        if sent is None or answered is None or answered.number != self._call.attempt:
            return None
        return round((answered.at_s - sent.at_s) * 1000)


def _charge_id(call: Call) -> str:
    return f"{call.id}.{call.attempt}"


def _intent(call: Call, now_ms: int) -> Intent:
    target, key = call.chosen, call.key
    if key is None:
        raise RuntimeError("Keys comes before Account")
    return Intent(
        charge_id=_charge_id(call),
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
        bound_nano_usd=bound_nano_usd(call),
        opened_at_ms=now_ms,
    )


def _cost_nano_usd(call: Call, usage: Usage | None) -> int | None:
    """What a usage costs; None where the price is unknown. No usage, no cost."""
    if usage is None:
        return 0
    price = call.chosen.model.price
    return price.cost_nano_usd(usage) if price else None
