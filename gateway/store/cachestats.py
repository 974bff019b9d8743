"""Statistics of the cache: how do the counts of all processes come together?

Each process adds its counts to the table `cache_stats` every `FLUSH_S`, behind the calls' own
writes. What was not written when a process is killed is lost.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from itertools import chain

from gateway.cache.tally import COUNTS, Row, Tally
from gateway.store.rows import insert
from gateway.store.writer import Operation, Writer

FLUSH_S = 2.0

_ADD = insert(
    "cache_stats",
    ("hour_ms", "team", "key_id", "asked_model", *COUNTS),
    "ON CONFLICT (hour_ms, team, key_id, asked_model) DO UPDATE SET "
    + ", ".join(f"{name} = cache_stats.{name} + excluded.{name}" for name in COUNTS),
)


class CacheStats:
    """Hands the tally of this process to the database."""

    def __init__(self, writer: Writer) -> None:
        self.tally = Tally()
        self._writer = writer
        self._adding = Operation(
            run=_add, on_failure=lambda rows, _error: self.tally.put_back(rows)
        )

    def flush(self) -> None:
        """Queue what was counted since the last time. What cannot be written is tried again."""
        rows = self.tally.taken()
        if rows:
            self._writer.post(self._adding, rows)

    async def run(self) -> None:
        """Flush, for ever."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()


def _add(db: sqlite3.Connection, batches: Sequence[Sequence[Row]]) -> None:
    _ADD.execute(db, [(*place, *counts) for place, counts in chain.from_iterable(batches)])
