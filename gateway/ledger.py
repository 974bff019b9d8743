"""The ledger's vocabulary: what is written about a call, and the seam to whoever writes it.

Two kinds of record. A `charge` is one attempt at a provider: committed as an `Intent` before the
provider is called, settled before the client has the last byte. All money lives in charges. A
`CallRecord` is one client request, written when it ends; it may lag a moment.

Times are unix milliseconds, durations milliseconds, money integer nano-dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.frozen import frozen
from gateway.pricing import Price
from gateway.usage import Usage


@frozen(kw_only=True)
class Intent:
    """An attempt that is about to be made. `bound_nano_usd` is its worst case; None: unpriced."""

    charge_id: str
    call_id: str
    attempt: int
    key_id: str
    team: str | None
    tags: tuple[str, ...]
    asked_model: str
    provider: str
    model: str
    credential: str
    price: Price | None
    bound_nano_usd: int | None
    opened_at_ms: int


@frozen(kw_only=True)
class Reservation:
    """What an attempt may cost, held in one period of one budget. A soft budget never refuses."""

    budget_id: str
    period_start_ms: int
    nano_usd: int
    limit_nano_usd: int
    hard: bool


@frozen
class Granted:
    """The intent is committed. What is left of each budget after it, in order; soft: maybe < 0."""

    left_nano_usd: tuple[int, ...] = ()


@frozen
class Short:
    """A hard budget has no room: nothing was written. `left` is what open attempts do not hold,
    `unspent` what would be left if they cost nothing.
    """

    budget_id: str
    left_nano_usd: int
    unspent_nano_usd: int


@frozen(kw_only=True)
class Settlement:
    """How an attempt ended. `usage` is None where nothing was used; its `source` says who counted.

    `cost_nano_usd` is None where the price is unknown. `error` is an error's `kind`. With
    `budgeted` the charge holds reservations, which are released and replaced by the cost.
    """

    charge_id: str
    usage: Usage | None
    cost_nano_usd: int | None
    error: str | None
    settled_at_ms: int
    first_event_ms: int | None
    duration_ms: int
    budgeted: bool = False


@frozen(kw_only=True)
class CallRecord:
    """One client request, refusals included (failed authentication excepted).

    `status` is the HTTP status that was, or would have been, sent: a stream that broke after its
    start keeps 200 and names its `error`; 499 is a client that left. `target` served it.
    `facts` is the trace as JSON text, for `sluice calls show`. `cache` is what the cache did, None
    where it was off; what was saved is None where nothing was, and the money where it is unpriced.
    """

    call_id: str
    received_at_ms: int
    key_id: str
    team: str | None
    tags: tuple[str, ...]
    asked_model: str
    alias: str | None
    target: str | None
    stream: bool
    status: int
    error: str | None
    attempts: int
    first_event_ms: int | None
    duration_ms: int
    overhead_ms: float | None
    facts: str
    cache: str | None = None
    saved_nano_usd: int | None = None
    saved_tokens: int | None = None


class Accounts(Protocol):
    """Who keeps the ledger."""

    async def open(
        self, intent: Intent, reservations: Sequence[Reservation] = ()
    ) -> Granted | Short:
        """Return once the intent and its reservations are durable, or one of them was refused.

        Raises `Unavailable`. Nothing may be sent unless the answer is `Granted`. `reservations`
        are in the order of their budgets' ids. A caller that is cancelled meanwhile leaves either
        no charge or one settled at 0.
        """

    async def peek(self, reservations: Sequence[Reservation]) -> Granted | Short:
        """What `open` would answer now; changes nothing. Raises `Unavailable`."""

    async def top_up(
        self, charge_id: str, nano_usd: int, reservations: Sequence[Reservation]
    ) -> Granted | Short:
        """Raise the bound of an open charge by `nano_usd`, and by that what it holds.

        Raises `Unavailable`, also for a charge that is no longer open. After `Short`, or an
        exception, whoever made the attempt must not let it cost more than before.
        """

    async def settle(self, settlement: Settlement) -> None:
        """Return once the settlement is durable, or after its time limit: then it is retried later.

        It is on its way before the first suspension: a caller that is cancelled stops waiting,
        not the settlement. Never raises for a fault of the store. A charge is settled once;
        repeats change nothing.
        """

    def record(self, record: CallRecord) -> None:
        """Queue a call's row; returns at once."""
