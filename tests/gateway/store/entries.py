"""Ledger entries for tests, with what a test does not care about filled in."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.ledger import CallRecord, Intent, Settlement
from gateway.store.sqlite import connect
from gateway.store.writer import Operation
from gateway.usage import Usage
from tests.builders import price

NOW_MS = 1_700_000_000_000
PRICE = price()
SOON_S = 5.0


def intent(charge_id: str = "call_1.1", **more: Any) -> Intent:
    values: dict[str, Any] = {
        "charge_id": charge_id,
        "call_id": charge_id.rpartition(".")[0],
        "attempt": int(charge_id.rpartition(".")[2]),
        "key_id": "k1",
        "team": "red",
        "tags": ("a", "b"),
        "asked_model": "fast",
        "provider": "openai",
        "model": "gpt",
        "credential": "default",
        "price": PRICE,
        "bound_nano_usd": 1_000,
        "opened_at_ms": NOW_MS,
    }
    return Intent(**(values | more))


def settlement(charge_id: str = "call_1.1", **more: Any) -> Settlement:
    values: dict[str, Any] = {
        "charge_id": charge_id,
        "usage": Usage(prompt_tokens=5, cached_tokens=2, completion_tokens=7),
        "cost_nano_usd": 300,
        "error": None,
        "settled_at_ms": NOW_MS + 900,
        "first_event_ms": 100,
        "duration_ms": 900,
    }
    return Settlement(**(values | more))


def record(call_id: str = "call_1", **more: Any) -> CallRecord:
    values: dict[str, Any] = {
        "call_id": call_id,
        "received_at_ms": NOW_MS,
        "key_id": "k1",
        "team": "red",
        "tags": ("a", "b"),
        "asked_model": "fast",
        "alias": "fast",
        "target": "openai/gpt",
        "stream": True,
        "status": 200,
        "error": None,
        "attempts": 1,
        "first_event_ms": 120,
        "duration_ms": 950,
        "overhead_ms": 0.75,
        "facts": "[]",
    }
    return CallRecord(**(values | more))


class Clock:
    """Unix milliseconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class Gate:
    """Holds the writer's thread inside an operation until it is opened."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()
        self.operation = Operation(run=self._run)

    def open(self) -> None:
        self._opened.set()

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, SOON_S)

    def _run(self, _: sqlite3.Connection, __: object) -> None:
        self._entered.set()
        assert self._opened.wait(SOON_S)


class Rows:
    """What is committed, as another connection sees it."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, busy_timeout_s=0.05)
        self._db.row_factory = sqlite3.Row
        self.execute = self._db.execute

    def all(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(query, parameters)]

    def charge(self, charge_id: str = "call_1.1") -> dict[str, Any] | None:
        return next(iter(self.all("SELECT * FROM charges WHERE charge_id = ?", charge_id)), None)

    def charges(self) -> dict[str, dict[str, Any]]:
        return {row["charge_id"]: row for row in self.all("SELECT * FROM charges")}

    def calls(self) -> dict[str, dict[str, Any]]:
        return {row["call_id"]: row for row in self.all("SELECT * FROM calls")}

    def close(self) -> None:
        self._db.close()


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = SOON_S) -> None:
    """Wait for something that happens in the background, perhaps in another process."""
    async with asyncio.timeout(within_s):
        while not await _holds(condition()):  # noqa: ASYNC110 - a database sets no event
            await asyncio.sleep(0.005)


async def _holds(answer: bool | Awaitable[bool]) -> bool:
    return answer if isinstance(answer, bool) else await answer
