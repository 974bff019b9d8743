"""Account: what did this attempt cost?

Before an attempt its intent is committed, with its worst case held in the budgets that it draws
on; afterwards it is settled by its ending: refused before any work costs nothing, a usage that the
provider counted costs exactly that, and where the request went out but no usage came back, an
estimate is charged and flagged.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.charging import Charge, intent_of
from gateway.exchange import Call, Completion, Handler, Reply
from gateway.explanation import Foreseen
from gateway.ledger import Accounts
from gateway.meter import Pace
from gateway.spending import Spending


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
        intent = intent_of(call, int(self._now() * 1000))
        if call.dry_run:
            call.trace.add(Foreseen(call))
            await self._spending.peek(call, intent)
            return await call_next(call)
        opened = await self._spending.open(call, intent)
        charge = Charge(opened, self._accounts, self._pace, self._now)
        async with charge:
            reply = await call_next(opened.call)
            if isinstance(reply, Completion):
                await charge.completed(reply)
            else:
                charge.streaming(reply)
        return reply
