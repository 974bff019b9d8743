"""The table of budgets: which are there, and which keys followed one that has a budget?"""

from __future__ import annotations

from collections.abc import Iterable

import aiosqlite

from gateway.budgets import Budget, Budgets

_COLUMNS = "id, scope, scope_value, period, zone, limit_nano_usd, hard"


class BudgetReader:
    """Keeps a `Budgets` as the database has it: reads it anew whenever the keys are."""

    def __init__(self) -> None:
        self.budgets = Budgets()

    async def read(self, db: aiosqlite.Connection) -> None:
        """Raises `sqlite3.Error`."""
        budgets = await select_budgets(db)
        self.budgets.replace(budgets, await successors(db) if budgets else None)


async def select_budgets(db: aiosqlite.Connection) -> list[Budget]:
    """All budgets, by scope."""
    query = f"SELECT {_COLUMNS} FROM budgets ORDER BY scope, scope_value, period"  # noqa: S608
    async with db.execute(query) as rows:
        return [budget(row) async for row in rows]


def budget(row: Iterable[object]) -> Budget:
    names = _COLUMNS.split(", ")
    values: dict[str, object] = dict(zip(names, row, strict=True))
    values["hard"] = bool(values["hard"])
    return Budget(**values)  # type: ignore[arg-type]  # the columns have these types


async def successors(db: aiosqlite.Connection) -> dict[str, list[str]]:
    """All keys that each rotated key was followed by."""
    query = "SELECT id, rotated_from FROM keys WHERE rotated_from IS NOT NULL"
    async with db.execute(query) as rows:
        before = {key: former async for key, former in rows}
    found: dict[str, list[str]] = {}
    for key in before:
        former, seen = before.get(key), {key}
        while former is not None and former not in seen:
            found.setdefault(former, []).append(key)
            seen.add(former)
            former = before.get(former)
    return found
