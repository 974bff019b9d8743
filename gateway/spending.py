"""Spending: may an attempt be made under its budgets, and if not now, is it worth waiting?

An attempt's worst case is held in the transaction of its intent. Where a hard budget has no room,
settlements of calls in flight may make some: the attempt waits for them up to `wait_s`, unless
even all of them could not help, or a cheaper target is left to be tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from gateway.budgets import Budget, Budgeted, BudgetOverrun, Budgets, Clamped
from gateway.config import Budgeting
from gateway.errors import BudgetExceeded, CostUnbounded
from gateway.exchange import Call
from gateway.ledger import Accounts, Granted, Intent, Reservation, Short
from gateway.trace import AttemptStarted
from gateway.worstcase import bound_nano_usd, cheaper, shortened, unbounded

_POLL_S = 0.05

Ask = Callable[[Intent, Sequence[Reservation]], Awaitable[Granted | Short]]


@dataclass(frozen=True, slots=True)
class Opened:
    """An intent that is committed. `call` is what may be sent; `budgeted`: it holds something."""

    call: Call
    budgeted: bool


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
        call, intent, answer = await self._fit(call, intent, budgets, self._accounts.open)
        if isinstance(answer, Short):
            reservations = self._budgets.reservations(intent, budgets)
            answer = await self._wait(call, intent, reservations, answer)
        _tell(call, intent, budgets, answer)
        return Opened(call, budgeted=True)

    async def peek(self, call: Call, intent: Intent) -> None:
        """Add the same facts, and raise the same refusals, as `open` would now; hold nothing."""
        budgets = self._budgets.of(intent)
        if budgets:
            self._require_bound(call, budgets)
            call, intent, answer = await self._fit(call, intent, budgets, self._peek)
            if isinstance(answer, Short):
                raise self._refusal(answer)
            _tell(call, intent, budgets, answer)

    async def _peek(self, _: Intent, reservations: Sequence[Reservation]) -> Granted | Short:
        return await self._accounts.peek(reservations)

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
            reason = unbounded(call.body, call.chosen.model)
            if reason is not None:
                raise CostUnbounded(
                    f"A budget applies, and what {call.model} may cost has no bound: {reason}."
                )

    async def _wait(
        self, call: Call, intent: Intent, reservations: Sequence[Reservation], short: Short
    ) -> Granted:
        """Of those who wait for a budget only the first asks; whoever is let in, lets the next ask.

        A time-out may fall into a commit: such a charge is settled at 0, like any unclaimed one.
        """
        until = asyncio.get_running_loop().time() + self._settings.wait_s
        needed = intent.bound_nano_usd or 0
        if not self._settings.wait_s or _cheaper_left(call):
            raise self._refusal(short)
        try:
            async with asyncio.timeout_at(min(until, call.deadline)), self._queue(short):
                while needed <= short.unspent_nano_usd:
                    answer = await self._accounts.open(intent, reservations)
                    if isinstance(answer, Granted):
                        return answer
                    short = answer
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass
        raise self._refusal(short)

    def _queue(self, short: Short) -> asyncio.Lock:
        return self._queues.setdefault(short.budget_id, asyncio.Lock())

    def _refusal(self, short: Short) -> BudgetExceeded:
        budget = self._budgets.named(short.budget_id)
        name = budget.name if budget else "a budget"
        return BudgetExceeded(
            f"The budget {name} has no room for this call. Ask your administrator, send a smaller "
            "max_tokens, or wait for the budget's next period."
        )


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
    overrun = tuple(budget.name for budget, rest in pairs if not budget.hard and rest < 0)
    if overrun:
        call.trace.add(BudgetOverrun(overrun))
