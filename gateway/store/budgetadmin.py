"""Administration of budgets: how are they set, shown and removed?

A budget that is set counts what the ledger already has for its current period: what was spent and,
as reservations, what is under way. Running processes learn of it like of a change to keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Literal

import aiosqlite

from gateway.budgets import Budget, ScopeKind
from gateway.periods import Period, PeriodName, period_of, zone
from gateway.store.audit import Audit, Via
from gateway.store.budgettable import budget, select_budgets, successors
from gateway.store.keytable import change, to_json, transaction
from gateway.store.leases import unix_ms

_UPSERT = """
INSERT INTO budgets (id, scope, scope_value, period, zone, limit_nano_usd, hard,
                     created_at_ms, updated_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, scope_value, period) DO UPDATE SET zone = excluded.zone,
    limit_nano_usd = excluded.limit_nano_usd, hard = excluded.hard,
    updated_at_ms = excluded.updated_at_ms
RETURNING id, scope, scope_value, period, zone, limit_nano_usd, hard
"""
_ADOPT = """
INSERT INTO charge_reservations (budget_id, period_start_ms, charge_id, nano_usd)
SELECT ?, ?, charge_id, COALESCE(bound_nano_usd, 0)
"""
_COUNT = """
INSERT INTO budget_periods (budget_id, period_start_ms, spent_nano_usd, reserved_nano_usd)
SELECT ?, ?, COALESCE(SUM(CASE WHEN state <> 'open' THEN cost_nano_usd END), 0),
       COALESCE(SUM(CASE WHEN state = 'open' THEN bound_nano_usd END), 0)
"""
# Of what was pruned only the sums are left; none of it is open.
_ADD_PRUNED = """
UPDATE budget_periods SET spent_nano_usd = spent_nano_usd + (
    SELECT COALESCE(SUM(kept.cost_nano_usd), 0) FROM rollup_groups AS grouped
    CROSS JOIN usage_quarters AS kept ON kept.group_id = grouped.id
    WHERE grouped.family = 'usage' AND grouped.kind = ?
    AND kept.start_ms >= ? AND kept.start_ms < ? AND {condition}
) WHERE budget_id = ? AND period_start_ms = ?
"""
_KINDS: Mapping[ScopeKind, str] = {"key": "full", "team": "team", "model": "full", "tag": "tag"}
"""Which sums tell of a scope."""


class UnknownBudget(Exception):
    """There is no such budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDraft:
    """What an administrator says about a budget."""

    scope: ScopeKind
    scope_value: str
    period: PeriodName
    zone: str
    limit_nano_usd: int
    hard: bool


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget in its current period."""

    budget: Budget
    period: Period
    spent_nano_usd: int
    reserved_nano_usd: int

    @property
    def left_nano_usd(self) -> int:
        return self.budget.limit_nano_usd - self.spent_nano_usd - self.reserved_nano_usd


class BudgetAdmin:
    """Changes to the budgets of a database. One user at a time per connection."""

    def __init__(
        self, db: aiosqlite.Connection, clock: Callable[[], int] = unix_ms, via: Via = "cli"
    ) -> None:
        self._db = db
        self._clock = clock
        self._via = via

    async def set(self, draft: BudgetDraft) -> Budget:
        """Make a budget, or change the one of the same scope and period."""
        now_ms = self._clock()
        values = (
            *(secrets.token_hex(4), draft.scope, draft.scope_value, draft.period, draft.zone),
            *(draft.limit_nano_usd, int(draft.hard), now_ms, now_ms),
        )
        async with self._change() as audit:
            before = {known.id: known for known in await select_budgets(self._db)}
            async with self._db.execute(_UPSERT, values) as rows:
                (row,) = await rows.fetchall()
            made = budget(row)
            was = before.get(made.id)
            action = "budget.update" if was else "budget.create"
            await audit.note(action, made.id, asdict(was) if was else None, asdict(made))
            await self._recount(made)
        return made

    async def recount(self, made: Budget) -> None:
        """Count the ledger again: calls may have begun while processes did not know the budget.

        It may have been changed meanwhile, or removed. Raises `UnknownBudget`.
        """
        async with transaction(self._db):
            await self._recount((await self.show(made.id)).budget)

    async def list(self) -> list[BudgetState]:
        """All budgets with what is spent and held in their current period."""
        return [await self._state(found) for found in await select_budgets(self._db)]

    async def show(self, budget_id: str) -> BudgetState:
        """Raises `UnknownBudget`."""
        for found in await select_budgets(self._db):
            if found.id == budget_id:
                return await self._state(found)
        raise UnknownBudget(f"no budget has the id {budget_id!r}")

    async def remove(self, scope: ScopeKind, value: str, period: PeriodName | None) -> int:
        """Remove a scope's budgets, or the one of a period; how many. Raises `UnknownBudget`."""
        async with self._change() as audit:
            found = [
                known
                for known in await select_budgets(self._db)
                if (known.scope, known.scope_value) == (scope, value)
                and period in (None, known.period)
            ]
            if not found:
                raise UnknownBudget(f"there is no budget for {scope}:{value}")
            for known in found:
                await self._delete(known, audit)
        return len(found)

    async def remove_one(self, budget_id: str) -> None:
        """Remove a budget by its id. Raises `UnknownBudget`."""
        async with self._change() as audit:
            await self._delete((await self.show(budget_id)).budget, audit)

    def _change(self) -> AbstractAsyncContextManager[Audit]:
        return change(self._db, self._via, self._clock())

    async def _delete(self, known: Budget, audit: Audit) -> None:
        await audit.note("budget.delete", known.id, asdict(known))
        await self._forget(known.id)
        await self._db.execute("DELETE FROM budgets WHERE id = ?", (known.id,))

    async def _forget(self, budget_id: str) -> None:
        for statement in (
            "DELETE FROM budget_periods WHERE budget_id = ?",
            "DELETE FROM charge_reservations WHERE budget_id = ?",
        ):
            await self._db.execute(statement, (budget_id,))

    async def _recount(self, made: Budget) -> None:
        """In the transaction of a change: nobody settles meanwhile."""
        period = period_of(made.period, zone(made.zone), self._clock())
        values = [made.scope_value]
        if made.scope == "key":
            values += (await successors(self._db)).get(made.scope_value, ())
        condition, parameters = _matching(made.scope, values)
        matching = f"FROM charges WHERE opened_at_ms >= ? AND opened_at_ms < ? AND {condition}"
        place = (made.id, period.start_ms)
        async with self._db.execute("SELECT pruned_ms FROM rollup_state") as rows:
            ((pruned_ms,),) = await rows.fetchall()
        scope = (max(period.start_ms, pruned_ms), period.end_ms, *parameters)
        await self._forget(made.id)
        await self._db.execute(_ADOPT + matching + " AND state = 'open'", (*place, *scope))
        await self._db.execute(_COUNT + matching, (*place, *scope))
        if period.start_ms < pruned_ms:
            pruned = (_KINDS[made.scope], period.start_ms, pruned_ms)
            condition, parameters = _matching(made.scope, values, tags="tag")
            add = _ADD_PRUNED.format(condition=condition)
            await self._db.execute(add, (*pruned, *parameters, *place))

    async def _state(self, found: Budget) -> BudgetState:
        period = period_of(found.period, zone(found.zone), self._clock())
        query = (
            "SELECT spent_nano_usd, reserved_nano_usd FROM budget_periods "
            "WHERE budget_id = ? AND period_start_ms = ?"
        )
        async with self._db.execute(query, (found.id, period.start_ms)) as rows:
            row = await rows.fetchone()
        spent, reserved = row or (0, 0)
        return BudgetState(found, period, spent, reserved)


def _matching(
    scope: ScopeKind, values: Sequence[str], tags: Literal["tag", "tags"] = "tags"
) -> tuple[str, list[str]]:
    """The condition that a charge, or a sum of some, is of a scope; and its parameters."""
    marks = ", ".join("?" * len(values))
    if scope == "tag" and tags == "tag":
        return f"tag IN ({marks})", list(values)
    if scope == "tag":  # as JSON text a tag cannot stand within another
        return "REPLACE(tags, ?, '') <> tags", [to_json(values)[1:-1]]
    if scope == "model":
        names = f"asked_model IN ({marks}) OR provider || '/' || model IN ({marks})"
        return f"({names})", [*values, *values]
    column = "key_id" if scope == "key" else "team"
    return f"{column} IN ({marks})", list(values)
