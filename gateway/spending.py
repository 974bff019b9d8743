"""Spending: may an attempt be made under its budgets, and if not now, is it worth waiting?

An attempt's worst case is held in the transaction of its intent. Where a hard budget has no room,
settlements of calls in flight may make some: the attempt waits for them up to `wait_s`, unless
even all of them could not help, or a cheaper target is left to be tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from gateway.budgets import Budget, Budgeted, BudgetOverrun, Budgets, Clamped
from gateway.config import Budgeting
from gateway.errors import BudgetExceeded, CostUnbounded
from gateway.exchange import Call
from gateway.frozen import frozen
from gateway.ledger import Accounts, Granted, Intent, Reservation, Short
from gateway.paidevents import TopUp
from gateway.reserve import Reserve, reserve_of
from gateway.trace import AttemptStarted, Stopped
from gateway.worstcase import bound_nano_usd, cheaper, shortened, unbounded

_POLL_S = 0.05

Ask = Callable[[Intent, Sequence[Reservation]], Awaitable[Granted | Short]]


@frozen
class Opened:
    """An intent that is committed. `call` is what may be sent; `budgeted`: it holds something.

    A stream with a `reserve` has to top it up before more comes of it.
    """

    call: Call
    budgeted: bool
    reserve: Reserve | None = None
    top_up: TopUp | None = None


class Spending:
    """Opens charges under the budgets that apply to them."""

    def __init__(self, accounts: Accounts, budgets: Budgets, settings: Budgeting) -> None:
        self._accounts = accounts
        self._budgets = budgets
        self._settings = settings
        self._queues: dict[str, asyncio.Lock] = {}

    async def open(self, call: Call, intent: Intent) -> Opened:
        """Commit an attempt's intent, and with it what it may cost.

        Raises `BudgetExceeded` or `Unavailable`: then nothing may be sent.
        """
        budgets = self._budgets.of(intent)
        if not budgets:
            await self._accounts.open(intent)
            return Opened(call, budgeted=False)
        self._require_bound(call, budgets)
        reserve, intent = self._begin(call, intent)
        call, intent, answer = await self._fit(call, intent, budgets, self._accounts.open)
        if isinstance(answer, Short):
            answer = await self._wait_to_open(call, intent, budgets, answer)
        _tell(call, intent, budgets, answer)
        if reserve is None:
            return Opened(call, budgeted=True)
        return Opened(call, True, reserve, partial(self._top_up, call, intent, reserve))

    async def peek(self, call: Call, intent: Intent) -> None:
        """Add the same facts, and raise the same refusals, as `open` would now; hold nothing."""
        budgets = self._budgets.of(intent)
        if budgets:
            self._require_bound(call, budgets)
            _, intent = self._begin(call, intent)
            call, intent, answer = await self._fit(call, intent, budgets, self._peek)
            if isinstance(answer, Short):
                raise self._refusal(answer)
            _tell(call, intent, budgets, answer)

    async def _peek(self, _: Intent, reservations: Sequence[Reservation]) -> Granted | Short:
        return await self._accounts.peek(reservations)

    def _begin(self, call: Call, intent: Intent) -> tuple[Reserve | None, Intent]:
        """A stream that can be topped up begins with less than its worst case."""
        reserve = reserve_of(call, self._settings.reserve_output_tokens)
        if reserve is None:
            return None, intent
        return reserve, replace(intent, bound_nano_usd=reserve.bound_nano_usd)

    async def _top_up(self, call: Call, intent: Intent, reserve: Reserve, needed: int) -> bool:
        """Hold what an answer of `needed` tokens can cost, and if possible a step more.

        Where there is no room, what settlements leave is waited for. Raises `Unavailable`.
        """

        async def ask(tokens: int) -> Granted | Short:
            more = replace(intent, bound_nano_usd=reserve.price_of(tokens))
            wanted = self._budgets.reservations(more, self._budgets.of(more))
            answer = await self._accounts.top_up(intent.charge_id, more.bound_nano_usd or 0, wanted)
            if isinstance(answer, Granted):
                reserve.reach(tokens)
            return answer

        most, least = reserve.next(needed), reserve.least(needed)
        answer = await ask(most)
        if isinstance(answer, Short):
            tokens = reserve.affordable(most, answer.left_nano_usd)
            if tokens >= least:
                answer = await ask(tokens)
        if isinstance(answer, Short):
            whole = reserve.bound_nano_usd + reserve.price_of(least)
            answer = await self._wait(call, whole, answer, partial(ask, least))
        if isinstance(answer, Short):
            call.trace.add(Stopped(self._name(answer), reserve.tokens))
            return False
        return True

    async def _fit(
        self, call: Call, intent: Intent, budgets: Sequence[Budget], ask: Ask
    ) -> tuple[Call, Intent, Granted | Short]:
        """Ask for room; where the key allows it, for an answer as short as there is room for."""
        answer = await ask(intent, self._budgets.reservations(intent, budgets))
        for _ in budgets:  # each may have less room than the one before
            if isinstance(answer, Granted) or not _may_clamp(call):
                break
            fitting = shortened(call, answer.left_nano_usd)
            if fitting is None:
                break
            smaller, tokens = fitting
            lower = replace(intent, bound_nano_usd=bound_nano_usd(smaller))
            answer = await ask(lower, self._budgets.reservations(lower, budgets))
            if isinstance(answer, Granted):
                call.trace.add(Clamped(tokens))
                return smaller, lower, answer
        return call, intent, answer

    def _require_bound(self, call: Call, budgets: Sequence[Budget]) -> None:
        if self._settings.unbounded == "refuse" and any(budget.hard for budget in budgets):
            reason = unbounded(call.body, call.chosen.model, topped_up=True)
            if reason is not None:
                raise CostUnbounded(
                    f"A budget applies, and what {call.model} may cost has no bound: {reason}."
                )

    async def _wait_to_open(
        self, call: Call, intent: Intent, budgets: Sequence[Budget], short: Short
    ) -> Granted:
        # A time-out may fall into a commit: that charge is settled at 0, like any unclaimed one.
        if _cheaper_left(call):
            raise self._refusal(short)
        reservations = self._budgets.reservations(intent, budgets)
        ask = partial(self._accounts.open, intent, reservations)
        answer = await self._wait(call, intent.bound_nano_usd or 0, short, ask)
        if isinstance(answer, Short):
            raise self._refusal(answer)
        return answer

    async def _wait(
        self, call: Call, needed: int, short: Short, ask: Callable[[], Awaitable[Granted | Short]]
    ) -> Granted | Short:
        """Of those who wait for a budget only the first asks; whoever is let in, lets the next ask.

        `needed` is all that the charge would hold: while more is spent, waiting is in vain.
        """
        until = asyncio.get_running_loop().time() + self._settings.wait_s
        if not self._settings.wait_s:
            return short
        try:
            async with asyncio.timeout_at(min(until, call.deadline)), self._queue(short):
                while needed <= short.unspent_nano_usd:
                    answer = await ask()
                    if isinstance(answer, Granted):
                        return answer
                    short = answer
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass
        return short

    def _queue(self, short: Short) -> asyncio.Lock:
        return self._queues.setdefault(short.budget_id, asyncio.Lock())

    def _refusal(self, short: Short) -> BudgetExceeded:
        name = self._name(short)
        return BudgetExceeded(
            f"The budget {name} has no room for this call. Ask your administrator, send a smaller "
            "max_tokens, or wait for the budget's next period."
        )

    def _name(self, short: Short) -> str:
        budget = self._budgets.named(short.budget_id)
        return budget.name if budget else short.budget_id


def _may_clamp(call: Call) -> bool:
    return call.key is not None and call.key.setting("clamp") is True and not _cheaper_left(call)


def _cheaper_left(call: Call) -> bool:
    """Is there a cheaper target that was not tried yet? It will be, at once."""
    tried = {started.target.name for started in call.trace.all(AttemptStarted)}
    return bool(cheaper(call, (t for t in call.candidates if t.name not in tried)))


def _tell(call: Call, intent: Intent, budgets: Sequence[Budget], granted: Granted) -> None:
    pairs = list(zip(budgets, granted.left_nano_usd, strict=True))
    left = {budget.name: rest for budget, rest in pairs}
    call.trace.add(Budgeted(intent.bound_nano_usd or 0, left))
    if min(left.values()) < 0:  # of soft ones only
        overrun = tuple(budget.name for budget, rest in pairs if rest < 0)
        call.trace.add(BudgetOverrun(overrun))
