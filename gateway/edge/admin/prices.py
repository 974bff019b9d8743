"""`/prices`: what do models cost, now and from which day on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.edge.admin.operation import Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import JSON, Fields, Flag, Maybe, Named, Number, Text, Whole, invalid
from gateway.store.prices import BadPrice, StoredPrice

_FIGURES = Named(Number(most=1.0), most=100)
PRICE = Fields(
    {
        "id": Maybe(Text()),
        "model": Text(free=True),
        "figures": _FIGURES,
        "source": Text(choices=("config", "database")),
        "effective_from_ms": Maybe(Whole()),
        "created_at_ms": Maybe(Whole()),
        "in_force": Flag(),
    },
    name="Price",
)
_REMOVED = Fields({"id": Text(), "deleted": Flag()})


class Prices:
    """Prices of one's own. What nobody set comes from litellm's table."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/prices",
            summary="List the prices that config.toml or an administrator sets.",
            act=self.list,
            answer=page_of(PRICE),
        )
        yield Operation(
            method="POST",
            path="/prices",
            summary="Set the price of a `provider/model` from a moment on, now unless said.",
            act=self.add,
            body=Fields(
                {"model": Text(), "figures": _FIGURES}, {"effective_from_ms": Maybe(Whole())}
            ),
            answer=PRICE,
            status=201,
        )
        yield Operation(
            method="DELETE",
            path="/prices/{id}",
            summary="Take back a price that is not in force yet.",
            act=self.remove,
            answer=_REMOVED,
        )

    async def list(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            stored = await look.prices.list()
        now_ms = self._parts.desk.clock()
        newest = {s.price.model: s.id for s in stored if s.price.effective_from_ms <= now_ms}
        known = self._parts.generation().config.model_info
        own = {name: info.price for name, info in known.items() if info.price}
        return page(
            [
                *(
                    _of_file(name, price, in_force=name not in newest)
                    for name, price in own.items()
                ),
                *(_of_database(one, in_force=one.id in newest.values()) for one in stored),
            ]
        )

    async def add(self, ask: Ask) -> JSON:
        model = ask.body["model"]
        provider = model.partition("/")[0]
        known = self._parts.generation().config.providers
        if provider not in known:
            raise invalid("model", f"must begin with one of {', '.join(f'{p}/' for p in known)}")
        async with self._parts.desk.changing(ask.via) as admin:
            try:
                made = await admin.prices.add(
                    model, ask.body["figures"], ask.body.get("effective_from_ms")
                )
            except BadPrice as error:
                raise invalid("figures", f"cannot be used: {error}".rstrip(".")) from None
        return _of_database(made, in_force=made.price.effective_from_ms <= self._parts.desk.clock())

    async def remove(self, ask: Ask) -> JSON:
        async with self._parts.desk.changing(ask.via) as admin:
            await admin.prices.remove(ask.path["id"])
        return {"id": ask.path["id"], "deleted": True}


def _of_file(model: str, figures: Any, *, in_force: bool) -> JSON:
    return {
        "id": None,
        "model": model,
        "figures": dict(figures),
        "source": "config",
        "effective_from_ms": None,
        "created_at_ms": None,
        "in_force": in_force,
    }


def _of_database(stored: StoredPrice, *, in_force: bool) -> JSON:
    return {
        "id": stored.id,
        "model": stored.price.model,
        "figures": dict(stored.price.figures),
        "source": "database",
        "effective_from_ms": stored.price.effective_from_ms,
        "created_at_ms": stored.created_at_ms,
        "in_force": in_force,
    }
