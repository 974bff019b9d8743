"""The ledger over SQL: is an attempt written down before it is made, and settled after it?

Failure modes, all of which end in exactly one settlement:
- not committed in time, or the caller was cancelled: nothing was sent to a provider. The intent is
  dropped if the writer has not reached it; if it was committed after all, it is settled at 0.
- the settlement fails (disk full, locked): it is kept and tried again until it is written; a
  charge that is still open when the process ends is swept at its bound.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence

from gateway.errors import Unavailable
from gateway.ledger import CallRecord, Granted, Intent, Reservation, Settlement, Short
from gateway.pricing import Price
from gateway.store.budgets import hold, peek, spend, take_each, top_up
from gateway.store.charges import (
    COST,
    DURATION,
    INSERT_CALLS,
    INSERT_CHARGES,
    INSERT_PRICE,
    OPENED_AT,
    RECEIVED_AT,
    SETTLE_CHARGES,
    call_row,
    opened_row,
    settled_row,
)
from gateway.store.leases import LeaseLost, Leases, unix_ms
from gateway.store.rollup.marks import mark
from gateway.store.rows import Row
from gateway.store.writer import FAULTS, Operation, Writer

MAX_UNSETTLED = 10_000
RETRY_S = 0.5

_NewPrice = tuple[str, str, int]
_Opening = tuple[Row, _NewPrice | None, Sequence[Reservation]]
_TopUp = tuple[str, int, Sequence[Reservation]]
_Settling = tuple[Row, bool]

_GRANTED = Granted()

_log = logging.getLogger(__name__)


class SqlAccounts:
    """`gateway.ledger.Accounts` over a `Writer`.

    `unsettled` counts the settlements that wait to be tried again; `abandoned` those given up.
    """

    def __init__(self, writer: Writer, leases: Leases, clock: Callable[[], int] = unix_ms) -> None:
        self._writer = writer
        self._leases = leases
        self._clock = clock
        self._known_prices: set[str] = set()
        self._unsettled: deque[_Settling] = deque()
        self._retry_armed = False
        self.abandoned = 0
        self._opening = Operation(
            run=self._insert_charges,
            skip_unclaimed=True,
            on_failure=self._on_open_failed,
            on_unclaimed=self._settle_unclaimed,
        )
        # An opening with reservations may be refused, so each of these has a result of its own.
        self._reserving = Operation(
            run=self._insert_budgeted,
            skip_unclaimed=True,
            on_failure=self._on_open_failed,
            on_unclaimed=self._settle_unclaimed,
            apiece=True,
        )
        # One that is committed after its caller left is released with the charge.
        self._topping_up = Operation(run=_top_up, skip_unclaimed=True, apiece=True)
        self._peeking = Operation(run=_peek, skip_unclaimed=True, apiece=True)
        self._settling = Operation(run=_settle_charges, on_failure=self._on_settle_failed)
        self._recording = Operation(run=_insert_calls, on_failure=self._on_record_failed)

    @property
    def unsettled(self) -> int:
        return len(self._unsettled)

    async def open(
        self, intent: Intent, reservations: Sequence[Reservation] = ()
    ) -> Granted | Short:
        price = intent.price
        new = price is not None and price.digest not in self._known_prices
        new_price = _new_price(price, intent) if new and price else None
        opening = (opened_row(intent), new_price, reservations)
        try:
            try:
                outcome = await self._open(opening)
            except LeaseLost:  # stopped for longer than the lease: take a new one
                await self._leases.regain()
                outcome = await self._open(opening)
        except (*FAULTS, TimeoutError) as error:
            _log.warning("charge not opened: %s", error)
            raise Unavailable("The ledger cannot be written; try again in a moment.") from error
        if new and price is not None and isinstance(outcome, Granted):
            self._known_prices.add(price.digest)
        return outcome

    async def top_up(
        self, charge_id: str, nano_usd: int, reservations: Sequence[Reservation]
    ) -> Granted | Short:
        wanted = (charge_id, nano_usd, reservations)
        try:
            outcome: Granted | Short = await self._writer.submit(self._topping_up, wanted)
        except (*FAULTS, TimeoutError) as error:
            _log.warning("charge not topped up: %s", error)
            raise Unavailable("The ledger cannot be written; try again in a moment.") from error
        return outcome

    async def peek(self, reservations: Sequence[Reservation]) -> Granted | Short:
        try:
            outcome: Granted | Short = await self._writer.submit(self._peeking, reservations)
        except (*FAULTS, TimeoutError) as error:
            raise Unavailable("The ledger cannot be read; try again in a moment.") from error
        return outcome

    async def settle(self, settlement: Settlement) -> None:
        try:
            await self._writer.submit(self._settling, _settling(settlement))
        except (*FAULTS, TimeoutError) as error:
            _log.warning("charge not settled yet: %s", error)

    def record(self, record: CallRecord) -> None:
        self._writer.post_later(self._recording, call_row(record))

    async def drain(self) -> None:
        """Write all that is queued; what is unsettled is tried once more."""
        await self._writer.flush()
        self._retry()
        await self._writer.flush()

    async def _open(self, opening: _Opening) -> Granted | Short:
        future = self._writer.submit(self._reserving if opening[2] else self._opening, opening)
        try:
            outcome: Granted | Short = await future
        except asyncio.CancelledError:
            # Cancelled between the commit and this line. If the future itself was cancelled,
            # the writer drops the intent or reports it to `_settle_unclaimed`.
            if not future.cancelled() and future.exception() is None:
                self._settle_unclaimed(opening)
            raise
        return outcome

    # ----------------------------------------------------- what the writer reports

    def _settle_unclaimed(self, opening: _Opening) -> None:
        settlement = Settlement(
            charge_id=opening[0][0],
            usage=None,
            cost_nano_usd=0,
            error="unclaimed",
            settled_at_ms=self._clock(),
            first_event_ms=None,
            duration_ms=0,
            budgeted=bool(opening[2]),
        )
        self._writer.post(self._settling, _settling(settlement))

    def _on_open_failed(self, _: _Opening, error: Exception) -> None:
        if not isinstance(error, LeaseLost):
            self._leases.doubt()

    def _on_settle_failed(self, settling: _Settling, error: Exception) -> None:
        if not isinstance(error, sqlite3.OperationalError) or self.unsettled >= MAX_UNSETTLED:
            self.abandoned += 1
            _log.error("charge %s cannot be settled: %s", settling[0][-1], error)
            return
        self._unsettled.append(settling)
        if not self._retry_armed:
            self._retry_armed = True
            asyncio.get_running_loop().call_later(RETRY_S, self._retry)

    def _on_record_failed(self, row: Row, error: Exception) -> None:
        if isinstance(error, sqlite3.OperationalError):
            self._writer.post_later(self._recording, row)

    def _retry(self) -> None:
        self._retry_armed = False
        while self._unsettled:
            self._writer.post(self._settling, self._unsettled.popleft())

    # --------------------------------------------------------- in the writer's thread

    def _insert_charges(self, db: sqlite3.Connection, openings: Sequence[_Opening]) -> Granted:
        owner = self._leases.owner()
        for _, price, _ in openings:
            if price is not None:
                db.execute(INSERT_PRICE, price)
        INSERT_CHARGES.execute(db, [(*row, owner) for row, _, _ in openings])
        mark(db, [row[OPENED_AT] for row, _, _ in openings])
        return _GRANTED

    def _insert_budgeted(
        self, db: sqlite3.Connection, openings: Sequence[_Opening]
    ) -> list[Granted | Short]:
        outcomes = take_each(db, [reservations for _, _, reservations in openings])
        pairs = zip(openings, outcomes, strict=True)
        granted = [opening for opening, outcome in pairs if isinstance(outcome, Granted)]
        self._insert_charges(db, granted)
        hold(db, [(row[0], reservations) for row, _, reservations in granted])
        return outcomes


def _settle_charges(db: sqlite3.Connection, settlings: Sequence[_Settling]) -> None:
    SETTLE_CHARGES.execute(db, [row for row, _ in settlings])
    # By charge: one that is settled again in the same batch is counted as it was settled first.
    ended = {row[-1]: row[COST] or 0 for row, budgeted in reversed(settlings) if budgeted}
    if ended:
        spend(db, [(cost, charge_id) for charge_id, cost in ended.items()])


def _top_up(db: sqlite3.Connection, wanted: Sequence[_TopUp]) -> list[Granted | Short]:
    return [top_up(db, *one) for one in wanted]


def _peek(db: sqlite3.Connection, wanted: Sequence[Sequence[Reservation]]) -> list[Granted | Short]:
    return [peek(db, reservations) for reservations in wanted]


def _insert_calls(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    INSERT_CALLS.execute(db, rows)
    # One that replaces a swept row replaces it at the moment of its first attempt.
    mark(db, [row[RECEIVED_AT] for row in rows], [row[DURATION] for row in rows])


def _settling(settlement: Settlement) -> _Settling:
    return settled_row(settlement), settlement.budgeted


def _new_price(price: Price, intent: Intent) -> _NewPrice:
    return (price.digest, price.document(), intent.opened_at_ms)
