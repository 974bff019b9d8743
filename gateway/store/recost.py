"""Costing again: what would past attempts have cost under other prices?

Each charge keeps its usage, and the digest of the price that it was settled with, so both the old
and another cost can be computed at any time. Nothing is written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from gateway.pricing import Price
from gateway.store.charges import COUNTS
from gateway.store.filters import EVERYTHING, TAGGED, Filter, of_charges, tag_text
from gateway.store.rollup.families import USAGE
from gateway.store.rollup.sums import conditions
from gateway.usage import Usage

BATCH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCharge:
    """An attempt that is over and used something. `price` is the document it was settled with.

    `cost_nano_usd` is None where the price was unknown.
    """

    charge_id: str
    key_id: str
    team: str | None
    asked_model: str
    provider: str
    model: str
    opened_at_ms: int
    settled_at_ms: int
    cost_nano_usd: int | None
    price: str | None
    usage: Usage


PriceOf = Callable[[PastCharge], Price | None]
"""The price that a charge is to be costed with; None: still unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recosted:
    """A charge under its old price and the other one."""

    charge: PastCharge
    cost_nano_usd: int | None


_SELECT = f"""
SELECT charge_id, key_id, team, asked_model, provider, model, opened_at_ms, settled_at_ms,
       cost_nano_usd, prices.document, source, service_tier, {", ".join(COUNTS)}
FROM charges LEFT JOIN prices ON prices.digest = charges.price_digest
WHERE state = 'settled' AND source IS NOT NULL AND {{conditions}}
AND opened_at_ms >= ? AND opened_at_ms < ? AND (opened_at_ms, charge_id) > (?, ?)
ORDER BY opened_at_ms, charge_id LIMIT ?
"""  # noqa: S608 (the names are constants; values are always parameters)


async def past_charges(
    db: aiosqlite.Connection, where: Filter = EVERYTHING, batch: int = BATCH
) -> AsyncIterator[list[PastCharge]]:
    """All that used something, oldest first, some at a time. Lost ones have no usage to cost."""
    wanted = dict(of_charges(where))
    wanted.pop("tag", None)
    text, values = conditions(USAGE.dimensions, wanted)
    if where.tag is not None:
        text, values = f"{text} AND {TAGGED}", (*values, tag_text(where.tag))
    query = _SELECT.format(conditions=text)
    since, until = where.period
    position: tuple[int, str] = (since, "")
    while True:
        # From the position on, so that the index by time leads straight there.
        parameters = (*values, position[0], until, *position, batch)
        async with db.execute(query, parameters) as rows:
            found = [_charge(tuple(row)) for row in await rows.fetchall()]
        if not found:
            return
        yield found
        position = (found[-1].opened_at_ms, found[-1].charge_id)


async def recosted(
    db: aiosqlite.Connection, price_of: PriceOf, where: Filter = EVERYTHING, batch: int = BATCH
) -> AsyncIterator[list[Recosted]]:
    """The same, each with what it would have cost."""
    async for charges in past_charges(db, where, batch):
        yield [Recosted(charge=charge, cost_nano_usd=_cost(charge, price_of)) for charge in charges]


def _cost(charge: PastCharge, price_of: PriceOf) -> int | None:
    price = price_of(charge)
    return None if price is None else price.cost_nano_usd(charge.usage, charge.settled_at_ms / 1000)


def _charge(row: Sequence[Any]) -> PastCharge:
    head, (source, service_tier, *counts) = row[:10], row[10:]
    charge_id, key_id, team, asked_model, provider, model, opened, settled, cost, price = head
    used = dict(zip(COUNTS, counts, strict=True))
    return PastCharge(
        charge_id=charge_id,
        key_id=key_id,
        team=team,
        asked_model=asked_model,
        provider=provider,
        model=model,
        opened_at_ms=opened,
        settled_at_ms=settled,
        cost_nano_usd=cost,
        price=price,
        usage=Usage(source=source, service_tier=service_tier, **used),
    )
