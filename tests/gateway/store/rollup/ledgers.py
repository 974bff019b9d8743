"""Random ledgers, and what they come to when nothing is summed up beforehand."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.ledger import Intent
from gateway.store.accounts import SqlAccounts
from gateway.store.reports import Reports
from gateway.store.rollup.families import QUARTER_MS
from gateway.store.sqlite import connect, reading
from gateway.usage import Usage
from tests.gateway.store.entries import NOW_MS, PRICE, intent, record, settlement

Ask = Callable[[Reports], Awaitable[Any]]

TARGETS = (("openai", "gpt"), ("azure", "gpt"), ("groq", "llama"))
TAGS = ((), ("a",), ("a", "b"), ('odd "_% tag',))
ERRORS = ((None, 200), (None, 200), (None, 200), ("timeout", 504), ("model_not_found", 404))


class RandomLedger:
    """Writes calls as a gateway does: attempts open, settle later or never, rows come late."""

    def __init__(self, accounts: SqlAccounts, seed: int) -> None:
        self._accounts = accounts
        self._random = random.Random(seed)  # noqa: S311
        self._number = 0
        self.open: list[Intent] = []

    async def call(self, at_ms: int) -> None:
        """One call with up to three attempts, of which the last may stay open."""
        choose = self._random.choice
        self._number += 1
        call_id = f"call_{self._number}"
        who: dict[str, Any] = {"key_id": choose(("k1", "k2", "k3")), "team": choose(("red", None))}
        who |= {"tags": choose(TAGS), "asked_model": choose(("fast", "slow"))}
        error, status = choose(ERRORS)
        attempts = self._random.randrange(4)
        for attempt in range(1, attempts + 1):
            await self._attempt(call_id, attempt, at_ms + attempt * 300, who, attempt == attempts)
        cache = choose(("hit", "miss", None)) if attempts == 0 else None
        self._accounts.record(
            record(
                call_id,
                received_at_ms=at_ms,
                status=status,
                error=error,
                attempts=attempts,
                duration_ms=choose((0, 3, 40, 900, 1_000_000)),
                target=choose(("openai/gpt", None)),
                cache=cache,
                saved_nano_usd=choose((None, 70)) if cache == "hit" else None,
                saved_tokens=9 if cache == "hit" else None,
                **who,
            )
        )

    async def settle_one(self) -> None:
        """Settle a charge that was left open."""
        if self.open:
            chosen = self.open.pop(self._random.randrange(len(self.open)))
            await self._settle(chosen.charge_id)

    def forget(self, accounts: SqlAccounts) -> None:
        """The process that had the open charges is gone; another one goes on."""
        self._accounts = accounts
        self.open = []

    async def _attempt(
        self, call_id: str, attempt: int, at_ms: int, who: dict[str, Any], last: bool
    ) -> None:
        provider, model = self._random.choice(TARGETS)
        price = self._random.choice((PRICE, None))
        opened = intent(
            f"{call_id}.{attempt}",
            provider=provider,
            model=model,
            price=price,
            bound_nano_usd=5_000 if price else None,
            opened_at_ms=at_ms,
            **who,
        )
        await self._accounts.open(opened)
        if last and self._random.random() < 0.3:
            self.open.append(opened)
        else:
            await self._settle(opened.charge_id)

    async def _settle(self, charge_id: str) -> None:
        rand = self._random
        usage = Usage(prompt_tokens=rand.randrange(90), completion_tokens=rand.randrange(9))
        used = replace(usage, source=rand.choice(("provider", "estimated", "partial")))
        await self._accounts.settle(
            settlement(
                charge_id,
                usage=rand.choice((used, None)),
                cost_nano_usd=rand.choice((None, 0, rand.randrange(10**6))),
                error=rand.choice((None, None, "timeout")),
                duration_ms=rand.randrange(2_000),
            )
        )


def moments(count: int, seed: int, span: int = 500) -> list[int]:
    """Moments within so many quarter hours, some of them just at the turn of one."""
    rand = random.Random(seed)  # noqa: S311
    quarters = [NOW_MS - NOW_MS % QUARTER_MS + rand.randrange(span) * QUARTER_MS for _ in range(9)]
    edges = (0, 1, QUARTER_MS - 1, rand.randrange(QUARTER_MS))
    return [rand.choice(quarters) + rand.choice(edges) for _ in range(count)]


async def said(path: Path, ask: Ask) -> Any:
    """What a report says of the database as it is."""
    async with reading(path) as db:
        return await ask(Reports(db))


async def differing(path: Path, questions: Mapping[str, Ask]) -> list[str]:
    """The questions to which a copy, in which nothing is summed up, has another answer."""
    copy = path.with_name("copy.db")
    with closing(connect(path)) as db, closing(sqlite3.connect(copy)) as other:
        db.backup(other)
        _forget_sums(other)
    async with reading(path) as db, reading(copy) as rows_only:
        summed, direct = Reports(db), Reports(rows_only)
        found = [name for name, ask in questions.items() if await ask(summed) != await ask(direct)]
    for file in path.parent.glob("copy.db*"):
        file.unlink()
    return found


def _forget_sums(db: sqlite3.Connection) -> None:
    tables = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' "
        "AND (name LIKE '%!_quarters' ESCAPE '!' OR name LIKE '%!_days' ESCAPE '!')"
    ).fetchall()
    with db:
        db.execute("UPDATE rollup_state SET until_ms = 0")
        for table in ("rollup_marks", *(name for (name,) in tables)):
            db.execute(f"DELETE FROM {table}")  # noqa: S608
