"""Snapshots of all state of a gateway in this process: what has changed between two of them?"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.inprocess import InProcess

# What moves by itself, or only remembers what it could find again.
_PASSED_BY = frozenset(
    {
        "Writer",  # its queue is drained before
        "Leases",  # renewed every second
        "Keyring",  # read again four times a second
        "Redis",  # the client; what is in Redis is looked at
        "Directory",  # what names mean
        "Applicable",  # which limits a key has
        "SqlAnswers",  # its rows are looked at
        "DiskStore",  # likewise
        "Catalog",
        "Config",
    }
)
_MEMOS = frozenset({("Budgets", "_periods"), ("SqlAccounts", "_known_prices")})
_PLAIN = (str, bytes, int, float, bool, type(None))


def memory(value: Any, seen: set[int] | None = None) -> Any:
    """All that can be reached from `value` through our own objects, as plain values in order."""
    seen = set() if seen is None else seen
    kind = type(value)
    if kind in _PLAIN:
        return value
    if id(value) in seen:
        return f"{kind.__name__} again"
    seen.add(id(value))
    if isinstance(value, Mapping):
        return [(memory(key, seen), memory(item, seen)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return [memory(item, seen) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if kind.__module__.partition(".")[0] not in ("gateway", "policies"):
        return kind.__name__
    if kind.__name__ in _PASSED_BY:
        return kind.__name__
    found = {
        name: memory(getattr(value, name), seen)
        for name in _attributes(value)
        if (kind.__name__, name) not in _MEMOS and hasattr(value, name)
    }
    return kind.__name__, found


def _attributes(value: Any) -> list[str]:
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return sorted({*getattr(value, "__dict__", {}), *slots} - {"__dict__", "__weakref__"})


def tables(path: Path) -> dict[str, list[Any]]:
    """Every row of every table of an SQLite file; leases are renewed all the time."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {
            name: sorted(map(repr, db.execute(f'SELECT * FROM "{name}"')))  # noqa: S608
            for name in names
            if name != "processes"
        }


async def snapshot(gateway: InProcess) -> dict[str, Any]:
    """The state of every store and of every policy."""
    await gateway.settled()
    parts = gateway.parts
    roots = (parts.limiter, parts.health, parts.caching, parts.budgets, parts.pace)
    found: dict[str, Any] = {
        "memory": [memory(root) for root in (*roots, *gateway.policies)],
        "database": tables(gateway.home / "data" / "sluice.db"),
        "disk": tables(gateway.home / "data" / "cache.db"),
    }
    if (redis := gateway.redis) is not None:
        ours = redis.key("*")

        async def dumped(client: Any) -> dict[bytes, bytes]:
            """All of it but the times at which it ends."""
            return {key: await client.dump(key) for key in sorted(await client.keys(ours))}

        found["redis"] = await redis.run(dumped)
        assert found["redis"] is not None
    return found
