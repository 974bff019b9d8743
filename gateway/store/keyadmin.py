"""Administration of keys: how are they created, listed, revoked, rotated and bound?

Every change bumps `keys_version` in its transaction, which is how running processes learn of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aiosqlite
import orjson

from gateway.store.keytable import (
    KeyDraft,
    NewKey,
    StoredKey,
    change,
    insert_key,
    select_keys,
    to_json,
)
from gateway.store.leases import unix_ms


class UnknownKey(Exception):
    """No key has this id, or none that can still be changed."""


class KeyAdmin:
    """Changes to the keys of a database. One user at a time per connection."""

    def __init__(
        self, db: aiosqlite.Connection, pepper: bytes, clock: Callable[[], int] = unix_ms
    ) -> None:
        self._db = db
        self._pepper = pepper
        self._clock = clock

    async def create(self, draft: KeyDraft) -> NewKey:
        """Make a key. A team that is not there yet is made too."""
        async with change(self._db):
            if draft.team is not None:
                await self._add_team(draft.team)
            return await insert_key(self._db, self._pepper, draft, self._clock())

    async def list(self) -> list[StoredKey]:
        """All keys, newest first."""
        return await select_keys(self._db)

    async def show(self, key_id: str) -> StoredKey:
        """Raises `UnknownKey`."""
        found = await select_keys(self._db, key_id)
        if not found:
            raise UnknownKey(f"no key has the id {key_id!r}")
        return found[0]

    async def revoke(self, key_id: str) -> None:
        """End a key now; revoking it again changes nothing. Raises `UnknownKey`."""
        async with change(self._db):
            await self.show(key_id)
            await self._end(key_id, "revoked_at_ms", self._clock())

    async def rotate(self, key_id: str, grace_s: float = 0.0) -> NewKey:
        """A new secret, under a new id, with an old key's rights. Raises `UnknownKey`.

        The old key is revoked at once or, with a grace, expires when that is over.
        """
        async with change(self._db):
            old = await self.show(key_id)
            if old.revoked_at_ms is not None:
                raise UnknownKey(f"key {key_id} is revoked: create a new one")
            now_ms = self._clock()
            if grace_s > 0:
                until_ms = now_ms + int(grace_s * 1000)
                await self._end(
                    key_id, "expires_at_ms", min(until_ms, old.expires_at_ms or until_ms)
                )
            else:
                await self._end(key_id, "revoked_at_ms", now_ms)
            return await insert_key(self._db, self._pepper, _successor(old), now_ms)

    async def bind_key(self, key_id: str, credentials: Mapping[str, str]) -> None:
        """Bind a key to named credentials, by provider, in place of all before.

        Raises `UnknownKey`.
        """
        async with change(self._db):
            await self.show(key_id)
            await self._db.execute(
                "UPDATE keys SET credentials = ? WHERE id = ?", (to_json(credentials), key_id)
            )

    async def bind_team(self, team: str, credentials: Mapping[str, str]) -> None:
        """As `bind_key`, for all keys of a team that have no binding of their own."""
        async with change(self._db):
            await self._add_team(team)
            await self._db.execute(
                "UPDATE teams SET credentials = ? WHERE name = ?", (to_json(credentials), team)
            )

    async def team_bindings(self) -> dict[str, dict[str, str]]:
        """Each team's bindings."""
        async with self._db.execute("SELECT name, credentials FROM teams ORDER BY name") as rows:
            return {name: orjson.loads(credentials) async for name, credentials in rows}

    async def set_key(self, key_id: str, settings: Mapping[str, Any]) -> StoredKey:
        """Change settings of a key; a value of None removes one. Raises `UnknownKey`."""
        async with change(self._db):
            merged = _merged((await self.show(key_id)).settings, settings)
            await self._db.execute(
                "UPDATE keys SET settings = ? WHERE id = ?", (to_json(merged), key_id)
            )
            return await self.show(key_id)

    async def set_team(self, team: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """As `set_key`, for a team; a new name makes a new team."""
        async with change(self._db):
            await self._add_team(team)
            merged = _merged((await self.team_settings()).get(team, {}), settings)
            await self._db.execute(
                "UPDATE teams SET settings = ? WHERE name = ?", (to_json(merged), team)
            )
            return merged

    async def team_settings(self) -> dict[str, dict[str, Any]]:
        """Each team's settings."""
        async with self._db.execute("SELECT name, settings FROM teams ORDER BY name") as rows:
            return {name: orjson.loads(settings) async for name, settings in rows}

    async def _end(self, key_id: str, column: str, at_ms: int) -> None:
        unless_revoked = f"UPDATE keys SET {column} = ? WHERE id = ? AND revoked_at_ms IS NULL"  # noqa: S608
        await self._db.execute(unless_revoked, (at_ms, key_id))

    async def _add_team(self, team: str) -> None:
        await self._db.execute(
            "INSERT INTO teams (name, credentials, created_at_ms) VALUES (?, '{}', ?) "
            "ON CONFLICT (name) DO NOTHING",
            (team, self._clock()),
        )


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def _successor(old: StoredKey) -> KeyDraft:
    return KeyDraft(
        name=old.name,
        team=old.team,
        models=old.models,
        tags=old.tags,
        credentials=old.credentials,
        settings=old.settings,
        expires_at_ms=old.expires_at_ms,
        rotated_from=old.id,
    )
