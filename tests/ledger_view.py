"""The ledger of a running gateway, from outside: what did it write down?"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

Row = dict[str, Any]
WRITTEN_WITHIN_S = 10.0
_TICK_S = 0.02


class LedgerView:
    """Reads the committed rows of `calls` and `charges`, in the order of their time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, parameters)]

    def calls(self) -> list[Row]:
        return self.query("SELECT * FROM calls ORDER BY received_at_ms, call_id")

    def charges(self, call_id: str | None = None) -> list[Row]:
        """All charges, or those of one call, one per attempt."""
        where = "call_id = ?" if call_id else "? IS NULL"
        sql = f"SELECT * FROM charges WHERE {where} ORDER BY opened_at_ms, attempt"  # noqa: S608
        return self.query(sql, call_id)

    def wait_for(self, call_id: str) -> tuple[Row, list[Row]]:
        """A call's row and its charges, once it has ended: rows may lag a second."""
        until = time.monotonic() + WRITTEN_WITHIN_S
        while True:
            rows = self.query("SELECT * FROM calls WHERE call_id = ?", call_id)
            charges = self.charges(call_id)
            if rows and all(charge["state"] != "open" for charge in charges):
                return rows[0], charges
            assert time.monotonic() < until, f"{call_id} has not ended: {rows} {charges}"
            time.sleep(_TICK_S)

    async def ended(self, call_id: str) -> tuple[Row, list[Row]]:
        """`wait_for`, while the test's own loop goes on."""
        return await asyncio.to_thread(self.wait_for, call_id)

    async def until(self, condition: Callable[[LedgerView], bool]) -> None:
        """Wait until the ledger satisfies `condition`."""
        await asyncio.to_thread(self._wait_until, condition)

    def _wait_until(self, condition: Callable[[LedgerView], bool]) -> None:
        until = time.monotonic() + WRITTEN_WITHIN_S
        while not condition(self):
            assert time.monotonic() < until, f"the ledger stays at {self.charges()}"
            time.sleep(_TICK_S)
