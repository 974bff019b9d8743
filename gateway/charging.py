"""Charging: what did an attempt cost, by how it ended, and when is that written down?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType

from gateway.errors import BudgetExceeded, SluiceError, UpstreamFailure
from gateway.exchange import Call, Completion, Ending, Stream, cancel_reason
from gateway.ledger import Accounts, Intent, Settlement
from gateway.meter import Meter, Pace
from gateway.paidevents import PaidEvents
from gateway.spending import Opened
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, NeverSent, Stopped, ToppedUp
from gateway.usage import Usage
from gateway.worstcase import bound_nano_usd


def intent_of(call: Call, now_ms: int) -> Intent:
    """What is written down before an attempt: whose it is, where it goes, its worst case."""
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


class Charge:
    """The charge of one attempt. Leaving its `async with` by an exception settles it."""

    def __init__(
        self, opened: Opened, accounts: Accounts, pace: Pace, now: Callable[[], float]
    ) -> None:
        self._meter = Meter(opened.call, pace)
        self._call = opened.call
        self._opened = opened
        self._accounts = accounts
        self._pace = pace
        self._now = now
        self._settled = False

    async def completed(self, completion: Completion) -> None:
        """An unstreamed answer is here."""
        usage = completion.usage
        if usage:
            target = self._call.chosen
            self._pace.observe(target, usage.completion_tokens, self._meter.elapsed_s())
        await self._settle(usage or self._meter.estimate_of(completion), None)

    def streaming(self, stream: Stream) -> None:
        """A streamed answer begins."""
        opened, meter = self._opened, self._meter
        if opened.reserve is not None and opened.top_up is not None:
            used = partial(meter.usage, whole=False)
            paying = (opened.call, opened.reserve, opened.top_up, used)
            stream.source_by(lambda source: PaidEvents(source, *paying))
        stream.through(meter.watch)
        stream.on_close(self._streamed)

    async def _streamed(self, ending: Ending) -> None:
        reserve, trace = self._opened.reserve, self._call.trace
        if reserve is not None and reserve.top_ups:
            trace.add(ToppedUp(reserve.top_ups, reserve.bound_nano_usd))
        stopped = reserve is not None and trace.last(Stopped) is not None
        if ending.how == "abandoned":
            error: str | None = "client_gone"
        elif stopped:
            error = BudgetExceeded.kind
        else:
            error = ending.error.kind if ending.error else None
        whole = ending.how == "finished" and not stopped
        await self._settle(self._meter.usage(whole=whole), error)

    async def __aenter__(self) -> Charge:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, UpstreamFailure):
            await self._settle(self._meter.estimate() if error.billable else None, error.kind)
        elif isinstance(error, SluiceError):
            await self._settle(None, error.kind)
        elif isinstance(error, asyncio.CancelledError):
            never_sent = self._call.trace.last(NeverSent)
            unsent = never_sent is not None and never_sent.number == self._call.attempt
            await self._settle(None if unsent else self._meter.estimate(), cancel_reason(error))
        elif error is not None:
            await self._settle(self._meter.estimate(), "internal_error")

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
                duration_ms=round(self._meter.elapsed_s() * 1000),
                budgeted=self._opened.budgeted,
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


def _cost_nano_usd(call: Call, usage: Usage | None) -> int | None:
    """What a usage costs; None where the price is unknown. No usage, no cost."""
    if usage is None:
        return 0
    price = call.chosen.model.price
    return price.cost_nano_usd(usage) if price else None
