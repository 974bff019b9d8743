"""The audit: who changed what, when, and what was it before?

A row is written in the transaction of its change (`gateway.store.keytable.change`), so there is
neither a change without a row nor a row without its change. No row holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import aiosqlite
import orjson

Via = Literal["api", "dashboard", "cli", "config", "start"]
"""Which way a change came: `config` is a reload of the file, `start` the first keys."""
VIAS: tuple[Via, ...] = get_args(Via)

ADMIN = "admin"

# Writers are serialised by their transactions, so the next number is nobody else's.
_INSERT = """
INSERT INTO audit (id, at_ms, who, via, action, object, before, after)
SELECT COALESCE(MAX(id), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM audit
"""
_SELECT = """
SELECT id, at_ms, who, via, action, object, before, after FROM audit
WHERE id < ? AND (? IS NULL OR object = ?) AND (? IS NULL OR action = ?)
ORDER BY id DESC LIMIT ?
"""
_NEWEST = 2**62


class Unaudited(RuntimeError):
    """A change was about to be committed without saying what it is: a fault of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One change. `before` and `after` hold what differs; None: it was not there, or is gone."""

    id: int
    at_ms: int
    who: str
    via: str
    action: str
    object: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Audit:
    """What one transaction says about itself."""

    def __init__(self, db: aiosqlite.Connection, via: Via, at_ms: int) -> None:
        self._db = db
        self._via = via
        self._at_ms = at_ms
        self._said = False

    async def note(
        self,
        action: str,
        object_id: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a row; of two states only what differs, and no row where nothing does."""
        self._said = True
        if before is not None and after is not None:
            names = [n for n in {**before, **after} if before.get(n) != after.get(n)]
            if not names:
                return
            before = {name: before.get(name) for name in names}
            after = {name: after.get(name) for name in names}
        values = (self._at_ms, ADMIN, self._via, action, object_id, _json(before), _json(after))
        await self._db.execute(_INSERT, values)

    def unchanged(self) -> None:
        """There was nothing to change after all."""
        self._said = True

    def require(self) -> None:
        """Raises `Unaudited` where nobody said what the transaction did."""
        if not self._said:
            raise Unaudited("a change of the store without its audit row")


class AuditTrail:
    """The rows, for reading."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db

    async def list(
        self,
        limit: int = 50,
        before_id: int | None = None,
        object_id: str | None = None,
        action: str | None = None,
    ) -> list[AuditRow]:
        """The newest first; older than `before_id`."""
        place = _NEWEST if before_id is None else before_id
        values = (place, object_id, object_id, action, action, limit)
        async with self._db.execute(_SELECT, values) as rows:
            return [_row(*row) async for row in rows]


def _row(
    number: int,
    at_ms: int,
    who: str,
    via: str,
    action: str,
    object_id: str,
    before: str | None,
    after: str | None,
) -> AuditRow:
    return AuditRow(
        id=number,
        at_ms=at_ms,
        who=who,
        via=via,
        action=action,
        object=object_id,
        before=orjson.loads(before) if before else None,
        after=orjson.loads(after) if after else None,
    )


def _json(state: Mapping[str, Any] | None) -> str | None:
    return None if state is None else orjson.dumps(dict(state)).decode()
