"""`/budgets`: limits on money are set, listed and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from gateway.budgets import SCOPES
from gateway.edge.admin.operation import Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import JSON, Fields, Flag, Maybe, Shape, Text, Whole, invalid
from gateway.periods import PERIODS, zone
from gateway.store.administration import Administration
from gateway.store.budgetadmin import BudgetDraft, BudgetState
from gateway.store.keyadmin import UnknownKey

_SAID: Mapping[str, Shape] = {
    "scope": Text(choices=SCOPES),
    "scope_value": Text(),
    "period": Text(choices=PERIODS),
    "zone": Text(),
    "limit_nano_usd": Whole(),
    "hard": Flag(),
}
BUDGET = Fields(
    {
        "id": Text(),
        "name": Text(),
        **_SAID,
        "period_start_ms": Maybe(Whole()),
        "period_end_ms": Maybe(Whole()),
        "spent_nano_usd": Whole(),
        "reserved_nano_usd": Whole(),
    },
    name="Budget",
)
_NEEDED = ("scope", "scope_value", "limit_nano_usd")
_SET = Fields(
    {name: _SAID[name] for name in _NEEDED},
    {name: shape for name, shape in _SAID.items() if name not in _NEEDED},
)
_REMOVED = Fields({"id": Text(), "deleted": Flag()})


class Budgets:
    """Budgets with what is spent and held of them now."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/budgets",
            summary="List the budgets with what is spent and reserved in their current periods.",
            act=self.list,
            answer=page_of(BUDGET),
        )
        yield Operation(
            method="PUT",
            path="/budgets",
            summary="Set the budget of a scope and period (month unless said; zone UTC; hard).",
            act=self.set,
            body=_SET,
            answer=BUDGET,
        )
        yield Operation(
            method="DELETE",
            path="/budgets/{id}",
            summary="Remove a budget.",
            act=self.remove,
            answer=_REMOVED,
        )

    async def list(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            return page([_budget(state) for state in await look.budgets.list()])

    async def set(self, ask: Ask) -> JSON:
        """Answers when every process knows the budget, and calls meanwhile are counted."""
        draft = BudgetDraft(**{"period": "month", "zone": "UTC", "hard": True, **ask.body})
        try:
            zone(draft.zone)
        except ValueError as error:
            raise invalid("zone", f"cannot be used: {error}") from None
        async with self._parts.desk.changing(ask.via) as admin:
            await _require_scope(draft, admin)
            made = await admin.budgets.set(draft)
        await asyncio.sleep(self._parts.spread_s)
        async with self._parts.desk.changing(ask.via) as admin:
            await admin.budgets.recount(made)
            return _budget(await admin.budgets.show(made.id))

    async def remove(self, ask: Ask) -> JSON:
        async with self._parts.desk.changing(ask.via) as admin:
            await admin.budgets.remove_one(ask.path["id"])
        return {"id": ask.path["id"], "deleted": True}


async def _require_scope(draft: BudgetDraft, admin: Administration) -> None:
    """A key has to be there. Teams, models and tags may come later."""
    if draft.scope == "key":
        try:
            await admin.keys.show(draft.scope_value)
        except UnknownKey as error:
            raise invalid("scope_value", f"cannot be used: {error}") from None


def _budget(state: BudgetState) -> JSON:
    endless = state.budget.period == "total"
    return asdict(state.budget) | {
        "name": state.budget.name,
        "period_start_ms": None if endless else state.period.start_ms,
        "period_end_ms": None if endless else state.period.end_ms,
        "spent_nano_usd": state.spent_nano_usd,
        "reserved_nano_usd": state.reserved_nano_usd,
    }
