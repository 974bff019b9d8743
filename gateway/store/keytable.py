"""Keys as rows: how are they read and written?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import aiosqlite
import orjson

from gateway.keys import KEY_PREFIX, digest, new_secret
from gateway.store.audit import Audit, Via

KeyState = Literal["active", "expired", "revoked"]
KEY_STATES: tuple[KeyState, ...] = get_args(KeyState)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as an administrator sees it. `prefix` is how its secret begins."""

    id: str
    name: str
    team: str | None
    models: tuple[str, ...]
    tags: tuple[str, ...]
    credentials: Mapping[str, str]
    settings: Mapping[str, Any]
    prefix: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    rotated_from: str | None

    def state(self, now_ms: int) -> KeyState:
        """Does it work?"""
        if self.revoked_at_ms is not None:
            return "revoked"
        expired = self.expires_at_ms is not None and self.expires_at_ms <= now_ms
        return "expired" if expired else "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made, with its secret: nobody can read that again."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDraft:
    """What an administrator says about a key that is to be made."""

    name: str
    team: str | None = None
    models: Sequence[str] = ("*",)
    tags: Sequence[str] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    expires_at_ms: int | None = None
    rotated_from: str | None = None


_COLUMNS = tuple(column.name for column in fields(StoredKey))
_AS_JSON = frozenset({"models", "tags", "credentials", "settings"})
_CHANGING = _AS_JSON | {"name", "team", "expires_at_ms", "revoked_at_ms"}
# The names are constants of this module; values are always parameters.
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM keys"  # noqa: S608
_INSERT = (
    f"INSERT INTO keys ({', '.join(_COLUMNS)}, digest) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_COLUMNS))}, ?) ON CONFLICT (id) DO NOTHING"
)


_STATES: Mapping[str | None, str] = {
    None: "0 <= ?",
    "active": "revoked_at_ms IS NULL AND COALESCE(expires_at_ms > ?, 1 = 1)",
    "expired": "revoked_at_ms IS NULL AND expires_at_ms <= ?",
    "revoked": "revoked_at_ms IS NOT NULL AND 0 <= ?",
}
"""Conditions over the time now."""


@asynccontextmanager
async def transaction(db: aiosqlite.Connection) -> AsyncIterator[None]:
    """One transaction that bumps the version by which processes notice what was changed."""
    try:
        await db.execute("BEGIN IMMEDIATE")
        yield
        await db.execute("UPDATE keys_version SET version = version + 1")
        await db.execute("COMMIT")
    except BaseException:
        # Also where the task was cancelled while the connection's thread still began it.
        await db.rollback()
        raise


@asynccontextmanager
async def change(db: aiosqlite.Connection, via: Via, now_ms: int) -> AsyncIterator[Audit]:
    """One `transaction` of an administrator's, which has to say what it changes."""
    async with transaction(db):
        audit = Audit(db, via, now_ms)
        yield audit
        audit.require()


async def select_keys(db: aiosqlite.Connection, key_id: str | None = None) -> list[StoredKey]:
    """All keys, newest first, or the one with this id."""
    condition, parameters = ("", ()) if key_id is None else (" WHERE id = ?", (key_id,))
    query = f"{_SELECT}{condition} ORDER BY created_at_ms DESC, id"
    async with db.execute(query, parameters) as rows:
        return [_stored(row) async for row in rows]


async def page_of_keys(
    db: aiosqlite.Connection,
    limit: int,
    after: str | None,
    now_ms: int,
    *,
    team: str | None,
    state: str | None,
) -> tuple[list[StoredKey], str | None]:
    """Keys, newest first, and where the next page begins. Raises `ValueError` for no place."""
    created_ms, key_id = _place(after)
    query = (
        f"{_SELECT} WHERE (created_at_ms < ? OR (created_at_ms = ? AND id > ?)) "
        f"AND (? IS NULL OR team = ?) AND {_STATES[state]} ORDER BY created_at_ms DESC, id LIMIT ?"
    )
    values = (created_ms, created_ms, key_id, team, team, now_ms, limit + 1)
    async with db.execute(query, values) as rows:
        found = [_stored(row) async for row in rows]
    page, more = found[:limit], len(found) > limit
    return page, f"{page[-1].created_at_ms}:{page[-1].id}" if more else None


def _place(after: str | None) -> tuple[int, str]:
    if after is None:
        return 2**62, ""
    created_ms, colon, key_id = after.partition(":")
    if not colon or not created_ms.isdecimal() or len(created_ms) > 18:
        raise ValueError("is no place in the list of keys")
    return int(created_ms), key_id


async def key_names(db: aiosqlite.Connection, key_ids: Collection[str]) -> dict[str, str]:
    """The names of these keys by their ids."""
    marks = ", ".join("?" * len(key_ids))
    query = f"SELECT id, name FROM keys WHERE id IN ({marks})"  # noqa: S608 - marks of parameters
    async with db.execute(query, tuple(key_ids)) as rows:
        return {key_id: name async for key_id, name in rows}


async def last_used(db: aiosqlite.Connection, key_ids: Sequence[str]) -> dict[str, int]:
    """When each key's latest call came, of those keys that the ledger has calls of."""
    found: dict[str, int] = {}
    for key_id in key_ids:  # one step in the index each; over all at once it would be walked
        query = "SELECT MAX(received_at_ms) FROM calls WHERE key_id = ?"
        async with db.execute(query, (key_id,)) as rows:
            row = await rows.fetchone()
        if row and row[0] is not None:
            found[key_id] = row[0]
    return found


async def insert_key(
    db: aiosqlite.Connection, pepper: bytes, draft: KeyDraft, now_ms: int
) -> NewKey:
    """Make a key within a `change`."""
    while True:
        key_id, secret = new_secret()
        written = await db.execute(_INSERT, _row(draft, key_id, digest(pepper, secret), now_ms))
        if written.rowcount == 1:  # an id has only 32 bits: now and then it is taken
            return NewKey(id=key_id, secret=secret)


async def update_key(db: aiosqlite.Connection, key_id: str, values: Mapping[str, Any]) -> None:
    """Write columns of a key within a `change`."""
    for name, value in values.items():
        if name not in _CHANGING:
            raise ValueError(f"{name!r} of a key is never changed")
        text = to_json(value) if name in _AS_JSON else value
        statement = f"UPDATE keys SET {name} = ? WHERE id = ?"  # noqa: S608 - one of the names above
        await db.execute(statement, (text, key_id))


def described(key: StoredKey) -> dict[str, Any]:
    """A key as the audit shows it: everything but its id."""
    values = {name: getattr(key, name) for name in _COLUMNS if name != "id"}
    return values | {"models": list(key.models), "tags": list(key.tags)}


def to_json(value: Sequence[str] | Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value) if isinstance(value, Mapping) else list(value)).decode()


def _row(draft: KeyDraft, key_id: str, hashed: bytes, now_ms: int) -> tuple[Any, ...]:
    values = {
        "id": key_id,
        "name": draft.name,
        "team": draft.team,
        "models": to_json(draft.models),
        "tags": to_json(draft.tags),
        "credentials": to_json(draft.credentials),
        "settings": to_json(draft.settings),
        "prefix": f"{KEY_PREFIX}{key_id}",
        "created_at_ms": now_ms,
        "expires_at_ms": draft.expires_at_ms,
        "revoked_at_ms": None,
        "rotated_from": draft.rotated_from,
    }
    return (*(values[name] for name in _COLUMNS), hashed.hex())


def _stored(row: Sequence[Any]) -> StoredKey:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["models"] = tuple(orjson.loads(values["models"]))
    values["tags"] = tuple(orjson.loads(values["tags"]))
    values["credentials"] = orjson.loads(values["credentials"])
    values["settings"] = orjson.loads(values["settings"])
    return StoredKey(**values)
