"""Dated prices in the database: what does a model cost from which moment on?

A price that is in force, or was, is never changed: calls were settled with it. One that is ahead
can be taken back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import aiosqlite
import orjson

from gateway import figures
from gateway.managed import DatedPrice
from gateway.store.audit import Audit, Via
from gateway.store.keytable import change
from gateway.store.leases import unix_ms

_SELECT = "SELECT id, model, figures, effective_from_ms, created_at_ms FROM dated_prices"


class BadPrice(ValueError):
    """Figures that are no price."""


class PriceTaken(Exception):
    """The model has a price from this very moment on already."""


class UnknownPrice(Exception):
    """No price has this id, or it is in force already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrice:
    """A price as it is kept."""

    id: str
    price: DatedPrice
    created_at_ms: int


class PriceAdmin:
    """Changes to the dated prices. One user at a time per connection."""

    def __init__(
        self, db: aiosqlite.Connection, clock: Callable[[], int] = unix_ms, via: Via = "cli"
    ) -> None:
        self._db = db
        self._clock = clock
        self._via = via

    async def list(self) -> list[StoredPrice]:
        """All of them, by model and moment."""
        return await select_prices(self._db)

    async def add(
        self, model: str, prices: Mapping[str, float], effective_from_ms: int | None = None
    ) -> StoredPrice:
        """A price from a moment on, by default from now. Raises `BadPrice` and `PriceTaken`."""
        _require_price(model, prices)
        now_ms = self._clock()
        from_ms = now_ms if effective_from_ms is None else effective_from_ms
        if from_ms < now_ms:
            raise BadPrice("A price cannot begin in the past: sluice recost shows what it would be")
        price_id = f"price_{secrets.token_hex(6)}"
        async with self._change() as audit:
            written = await self._db.execute(
                "INSERT INTO dated_prices (id, model, figures, effective_from_ms, created_at_ms) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, effective_from_ms) DO NOTHING",
                (price_id, model, orjson.dumps(dict(prices)).decode(), from_ms, now_ms),
            )
            if written.rowcount == 0:
                raise PriceTaken(f"{model} has a price from this moment on already")
            made = await self._show(price_id)
            await audit.note("price.create", price_id, None, _described(made))
        return made

    async def remove(self, price_id: str) -> StoredPrice:
        """Take back a price that is ahead. Raises `UnknownPrice`."""
        async with self._change() as audit:
            was = await self._show(price_id)
            if was.price.effective_from_ms <= self._clock():
                raise UnknownPrice(f"the price {price_id} is in force: add a newer one")
            await self._db.execute("DELETE FROM dated_prices WHERE id = ?", (price_id,))
            await audit.note("price.delete", price_id, _described(was), None)
        return was

    async def _show(self, price_id: str) -> StoredPrice:
        for found in await self.list():
            if found.id == price_id:
                return found
        raise UnknownPrice(f"no price has the id {price_id!r}")

    def _change(self) -> AbstractAsyncContextManager[Audit]:
        return change(self._db, self._via, self._clock())


async def select_prices(db: aiosqlite.Connection) -> list[StoredPrice]:
    """All dated prices, by model and moment."""
    async with db.execute(f"{_SELECT} ORDER BY model, effective_from_ms") as rows:
        return [_stored(*row) async for row in rows]


def _require_price(model: str, prices: Mapping[str, float]) -> None:
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        raise BadPrice(f"{model!r} is not provider/model")
    if not prices:
        raise BadPrice("A price needs at least one figure, such as input_cost_per_token.")
    for figure, dollars in prices.items():
        if not figures.is_figure(figure):
            raise BadPrice(f"{figure!r} is no price per token")
        if (
            isinstance(dollars, bool)
            or not isinstance(dollars, int | float)
            or not 0 <= dollars < 1
        ):
            raise BadPrice(f"{figure} must be dollars per token: from 0 to less than 1")


def _stored(
    price_id: str, model: str, text: str, effective_from_ms: int, created_at_ms: int
) -> StoredPrice:
    price = DatedPrice(model=model, figures=orjson.loads(text), effective_from_ms=effective_from_ms)
    return StoredPrice(id=price_id, price=price, created_at_ms=created_at_ms)


def _described(known: StoredPrice) -> dict[str, Any]:
    price = known.price
    return {
        "model": price.model,
        "figures": dict(price.figures),
        "effective_from_ms": price.effective_from_ms,
    }
