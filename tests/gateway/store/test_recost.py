"""What would past attempts have cost under other prices?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from gateway.pricing import Price
from gateway.store.accounts import SqlAccounts
from gateway.store.recost import past_charges, recosted
from gateway.store.reports import Filter
from gateway.store.sqlite import reading
from gateway.usage import Usage
from tests.gateway.store.entries import NOW_MS, PRICE, intent, settlement

DEARER = Price.from_entry({"input_cost_per_token": "0.001", "output_cost_per_token": "0.002"})
USED = Usage(prompt_tokens=5, completion_tokens=7)


@pytest.fixture
async def db(path: Path, accounts: SqlAccounts) -> AsyncIterator[aiosqlite.Connection]:
    """Nine charges, three at a moment; one is open, one used nothing, one has no price."""
    for number in range(9):
        charge = f"call_{number}.1"
        price = None if number == 4 else PRICE
        opened_at_ms = NOW_MS + number // 3
        tags = {4: ("X",), 5: ("x",)}.get(number, ())
        await accounts.open(intent(charge, opened_at_ms=opened_at_ms, price=price, tags=tags))
        if number == 8:
            continue
        cost = None if price is None else PRICE.cost_nano_usd(USED)
        usage = None if number == 7 else USED
        await accounts.settle(settlement(charge, usage=usage, cost_nano_usd=cost))
    async with reading(path) as db:
        yield db


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
async def test_each_charge_comes_once_oldest_first(db: aiosqlite.Connection, batch: int) -> None:
    found = [charge async for charges in past_charges(db, batch=batch) for charge in charges]
    assert [charge.charge_id for charge in found] == [f"call_{n}.1" for n in range(7)]
    assert found[0].usage == USED
    assert found[0].price == PRICE.document()
    assert (found[4].price, found[4].cost_nano_usd) == (None, None)


async def test_charges_are_costed_with_the_price_that_is_given(db: aiosqlite.Connection) -> None:
    async for costed in recosted(db, lambda charge: DEARER if charge.price else None):
        for one in costed:
            expected = 5 * 10**6 + 7 * 2 * 10**6 if one.charge.price else None
            assert one.cost_nano_usd == expected


async def test_their_own_price_makes_the_same_cost(db: aiosqlite.Connection) -> None:
    def own(charge: object) -> Price | None:
        document = charge.price  # type: ignore[attr-defined]
        return Price.from_document(document) if document else None

    async for costed in recosted(db, own):
        for one in costed:
            assert one.cost_nano_usd == one.charge.cost_nano_usd


@pytest.mark.parametrize(
    ("where", "count"),
    [(Filter(since_ms=NOW_MS + 1), 4), (Filter(until_ms=NOW_MS + 1), 3), (Filter(tag="x"), 1)],
)
async def test_charges_are_filtered(db: aiosqlite.Connection, where: Filter, count: int) -> None:
    found = [charge async for charges in past_charges(db, where, batch=2) for charge in charges]
    assert len(found) == count
