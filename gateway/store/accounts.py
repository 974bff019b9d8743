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
from gateway.ledger import CallRecord, Intent, Settlement
from gateway.pricing import Price
from gateway.store.charges import (
    INSERT_CALLS,
    INSERT_CHARGES,
    INSERT_PRICE,
    SETTLE_CHARGES,
    call_row,
    opened_row,
    settled_row,
)
from gateway.store.leases import LeaseLost, Leases, unix_ms
from gateway.store.rows import Row
from gateway.store.writer import FAULTS, Operation, Writer

MAX_UNSETTLED = 10_000
RETRY_S = 0.5

_NewPrice = tuple[str, str, int]
_Opening = tuple[Row, _NewPrice | None]

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
        self._unsettled: deque[Row] = deque()
        self._retry_armed = False
        self.abandoned = 0
        self._opening = Operation(
            run=self._insert_charges,
            skip_unclaimed=True,
            on_failure=self._on_open_failed,
            on_unclaimed=self._settle_unclaimed,
        )
        self._settling = Operation(run=_settle_charges, on_failure=self._on_settle_failed)
        self._recording = Operation(run=_insert_calls, on_failure=self._on_record_failed)

    @property
    def unsettled(self) -> int:
        return len(self._unsettled)

    async def open(self, intent: Intent) -> None:
        price = intent.price
        new = price is not None and price.digest not in self._known_prices
        opening = (opened_row(intent), _new_price(price, intent) if new and price else None)
        try:
            try:
                await self._open(opening)
            except LeaseLost:  # stopped for longer than the lease: take a new one
                await self._leases.regain()
                await self._open(opening)
        except (*FAULTS, TimeoutError) as error:
            _log.warning("charge not opened: %s", error)
            raise Unavailable("The ledger cannot be written; try again in a moment.") from error
        if new and price is not None:
            self._known_prices.add(price.digest)

    async def settle(self, settlement: Settlement) -> None:
        try:
            await self._writer.submit(self._settling, settled_row(settlement))
        except (*FAULTS, TimeoutError) as error:
            _log.warning("charge not settled yet: %s", error)

    def record(self, record: CallRecord) -> None:
        self._writer.post_later(self._recording, call_row(record))

    async def drain(self) -> None:
        """Write all that is queued; what is unsettled is tried once more."""
        await self._writer.flush()
        self._retry()
        await self._writer.flush()

    async def _open(self, opening: _Opening) -> None:
        future = self._writer.submit(self._opening, opening)
        try:
            await future
        except asyncio.CancelledError:
            # Cancelled between the commit and this line. If the future itself was cancelled,
            # the writer drops the intent or reports it to `_settle_unclaimed`.
            if not future.cancelled() and future.exception() is None:
                self._settle_unclaimed(opening)
            raise

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
        )
        self._writer.post(self._settling, settled_row(settlement))

    def _on_open_failed(self, _: _Opening, error: Exception) -> None:
        if not isinstance(error, LeaseLost):
            self._leases.doubt()

    def _on_settle_failed(self, row: Row, error: Exception) -> None:
        if not isinstance(error, sqlite3.OperationalError) or self.unsettled >= MAX_UNSETTLED:
            self.abandoned += 1
            _log.error("charge %s cannot be settled: %s", row[-1], error)
            return
        self._unsettled.append(row)
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

    def _insert_charges(self, db: sqlite3.Connection, openings: Sequence[_Opening]) -> None:
        owner = self._leases.owner()
        for _, price in openings:
            if price is not None:
                db.execute(INSERT_PRICE, price)
        INSERT_CHARGES.execute(db, [(*row, owner) for row, _ in openings])


def _settle_charges(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    SETTLE_CHARGES.execute(db, rows)


def _insert_calls(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    INSERT_CALLS.execute(db, rows)


def _new_price(price: Price, intent: Intent) -> _NewPrice:
    return (price.digest, price.document(), intent.opened_at_ms)
