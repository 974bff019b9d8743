"""A ledger in memory: what was opened, settled and recorded, in which order?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.errors import Unavailable
from gateway.ledger import CallRecord, Granted, Intent, Reservation, Settlement, Short


class Book:
    """`Accounts` that keeps everything. `events` is the order of it all: a test may add to it.

    With `closed` no intent can be written. While `stuck` is set, a settlement is noted at once
    but its caller waits, as for a slow commit.
    """

    def __init__(self, *, closed: bool = False) -> None:
        self.closed = closed
        self.stuck: asyncio.Event | None = None
        self.asked = asyncio.Event()  # a settlement has come
        self.events: list[str] = []
        self.intents: list[Intent] = []
        self.settlements: list[Settlement] = []
        self.records: list[CallRecord] = []
        self.held: dict[str, int] = {}  # of each budget, by id; a test may change both
        self.spent: dict[str, int] = {}
        self.asked_for = 0
        self._reservations: dict[str, Sequence[Reservation]] = {}

    async def open(
        self, intent: Intent, reservations: Sequence[Reservation] = ()
    ) -> Granted | Short:
        answer = await self.peek(reservations)
        if isinstance(answer, Granted):
            self.intents.append(intent)
            self.events.append(f"open {intent.charge_id}")
            self._reservations[intent.charge_id] = reservations
            for held in reservations:
                self.held[held.budget_id] = self.held.get(held.budget_id, 0) + held.nano_usd
        return answer

    async def top_up(
        self, charge_id: str, nano_usd: int, reservations: Sequence[Reservation]
    ) -> Granted | Short:
        answer = await self.peek(reservations)
        if isinstance(answer, Granted):
            self.events.append(f"top up {charge_id} {nano_usd}")
            held = self._reservations[charge_id]
            self._reservations[charge_id] = [*held, *reservations]
            for more in reservations:
                self.held[more.budget_id] += more.nano_usd
        return answer

    async def peek(self, reservations: Sequence[Reservation]) -> Granted | Short:
        await asyncio.sleep(0)
        self.asked_for += 1
        if self.closed:
            raise Unavailable("The ledger cannot be written.")
        left = []
        for wanted in reservations:
            unspent = wanted.limit_nano_usd - self.spent.get(wanted.budget_id, 0)
            free = unspent - self.held.get(wanted.budget_id, 0)
            if wanted.hard and wanted.nano_usd > free:
                return Short(wanted.budget_id, free, unspent)
            left.append(free - wanted.nano_usd)
        return Granted(tuple(left))

    async def settle(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)
        reservations = self._reservations.pop(settlement.charge_id, ())
        for held in reservations:
            self.held[held.budget_id] -= held.nano_usd
        for budget_id in {held.budget_id for held in reservations}:
            spent = self.spent.get(budget_id, 0)
            self.spent[budget_id] = spent + (settlement.cost_nano_usd or 0)
        self.asked.set()
        if self.stuck is not None:
            await self.stuck.wait()
        await asyncio.sleep(0)
        self.events.append(f"settle {settlement.charge_id}")

    def record(self, record: CallRecord) -> None:
        self.records.append(record)
        self.events.append(f"record {record.call_id}")

    @property
    def settlement(self) -> Settlement:
        """The only settlement there is."""
        assert len(self.settlements) == 1, f"{len(self.settlements)} settlements"
        return self.settlements[0]
