"""The state of the database: which processes use it, and how large is it?"""

from __future__ import annotations

from dataclasses import dataclass

import aiosqlite

_PROCESSES = """
SELECT id, host, pid, started_at_ms, lease_until_ms FROM processes ORDER BY started_at_ms, id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A serving process. One whose lease is over is gone, and is about to be swept."""

    id: str
    host: str
    pid: int
    started_at_ms: int
    lease_until_ms: int


async def processes(db: aiosqlite.Connection) -> list[Process]:
    """Those with a lease, the oldest first."""
    async with db.execute(_PROCESSES) as rows:
        return [
            Process(id=name, host=host, pid=pid, started_at_ms=began, lease_until_ms=until)
            async for name, host, pid, began, until in rows
        ]


async def size_bytes(db: aiosqlite.Connection) -> int:
    """The pages of the database, without its write-ahead log."""
    size = 1
    for pragma in ("PRAGMA page_count", "PRAGMA page_size"):
        async with db.execute(pragma) as rows:
            size *= next(iter(await rows.fetchall()))[0]
    return size
