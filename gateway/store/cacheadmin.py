"""Administration of the cache: what did it do, and how is it cleared?

A clear holds in every process as soon as it has read `keys_version`, within a second. It leaves
what lies on disk and in Redis where it is; their stores have `drop` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import aiosqlite

from gateway.cache.epochs import Epochs, Scope
from gateway.cache.tally import COUNTS
from gateway.store.audit import Via
from gateway.store.keytable import change
from gateway.store.leases import unix_ms

_DAY_MS = 86_400_000
GROUPS: Mapping[str, str] = {
    "team": "team",
    "key": "key_id",
    "model": "asked_model",
    "day": f"hour_ms / {_DAY_MS}",
    "hour": "hour_ms",
}
"""What statistics can be grouped by. Keys without a team have the team ''; days are UTC."""

_CLEAR = """
INSERT INTO cache_epochs (owner, namespace, asked_model, epoch, cleared_at_ms)
VALUES (?, ?, ?, 1, ?) ON CONFLICT (owner, namespace, asked_model)
DO UPDATE SET epoch = cache_epochs.epoch + 1, cleared_at_ms = excluded.cleared_at_ms"""
_EPOCHS = "SELECT owner, namespace, asked_model, epoch FROM cache_epochs"
_SUMS = ", ".join(f"COALESCE(SUM({name}), 0)" for name in COUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """Sums of one group, in the order of the question's `by`, over all processes."""

    group: tuple[str, ...]
    hits: int
    misses: int
    coalesced: int
    bypasses: int
    additions: int
    unreadable: int
    saved_tokens: int
    saved_nano_usd: int

    @property
    def hit_rate(self) -> float | None:
        """The share of calls that needed no provider's answer of their own; None without calls."""
        asked = self.hits + self.coalesced + self.misses
        return (self.hits + self.coalesced) / asked if asked else None


class CacheAdmin:
    """Statistics and clearing, over one connection."""

    def __init__(
        self, db: aiosqlite.Connection, clock: Callable[[], int] = unix_ms, via: Via = "cli"
    ) -> None:
        self._db = db
        self._clock = clock
        self._via = via

    async def stats(
        self,
        by: Sequence[str] = (),
        since_ms: int | None = None,
        until_ms: int | None = None,
        *,
        team: str | None = None,
        key: str | None = None,
        model: str | None = None,
    ) -> list[CacheRow]:
        """Sums per group, `by` any of `GROUPS`, of the hours that begin in the period.

        Raises `KeyError` for another group.
        """
        asked: dict[str, str | int | None] = {
            "hour_ms >= ?": since_ms,
            "hour_ms < ?": until_ms,
            "team = ?": team,
            "key_id = ?": key,
            "asked_model = ?": model,
        }
        given = {text: value for text, value in asked.items() if value is not None}
        groups = [GROUPS[name] for name in by]
        numbers = ", ".join(str(position) for position in range(1, len(groups) + 1))
        # The names are this module's constants; values are always parameters.
        query = (
            f"SELECT {', '.join([*groups, _SUMS])} FROM cache_stats "  # noqa: S608
            f"WHERE {' AND '.join(given) or '1 = 1'}"
            + (f" GROUP BY {numbers} ORDER BY {numbers}" if groups else "")
        )
        async with self._db.execute(query, tuple(given.values())) as rows:
            return [_row(by, row) async for row in rows]

    async def clear(self, scope: Scope) -> None:
        """Put all entries in a scope out of use."""
        now_ms = self._clock()
        async with change(self._db, self._via, now_ms) as audit:
            await clear(self._db, scope, now_ms)
            await audit.note("cache.clear", scope.owner or "cache", None, asdict(scope))


async def clear(db: aiosqlite.Connection, scope: Scope, now_ms: int) -> None:
    """As `CacheAdmin.clear`, within a transaction that bumps `keys_version`."""
    await db.execute(_CLEAR, (scope.owner, scope.namespace, scope.model, now_ms))


class EpochReader:
    """Keeps the epochs of one process as the database has them."""

    def __init__(self) -> None:
        self.epochs = Epochs()

    async def read(self, db: aiosqlite.Connection) -> None:
        """Called when `keys_version` has changed."""
        async with db.execute(_EPOCHS) as rows:
            self.epochs.replace({(o, n, m): epoch async for o, n, m, epoch in rows})


def _row(by: Sequence[str], row: Sequence[Any]) -> CacheRow:
    group = (_shown(name, value) for name, value in zip(by, row, strict=False))
    counts = dict(zip(COUNTS, row[len(by) :], strict=True))
    return CacheRow(group=tuple(group), **counts)


def _shown(group: str, value: Any) -> str:
    if group not in ("day", "hour"):
        return str(value)
    moment = datetime.fromtimestamp(value * (_DAY_MS if group == "day" else 1) / 1000, UTC)
    return moment.date().isoformat() if group == "day" else moment.strftime("%Y-%m-%dT%H:00Z")
