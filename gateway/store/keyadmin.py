"""Administration of keys: how are they created, listed, revoked, rotated and bound?

Every change bumps `keys_version` in its transaction, which is how running processes learn of it,
and leaves a row in the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiosqlite
import orjson

from gateway.store.audit import Audit, Via
from gateway.store.keytable import (
    KeyDraft,
    NewKey,
    StoredKey,
    change,
    described,
    insert_key,
    key_names,
    last_used,
    page_of_keys,
    select_keys,
    to_json,
    update_key,
)
from gateway.store.leases import unix_ms


class UnknownKey(Exception):
    """No key has this id."""


class RevokedKey(UnknownKey):
    """The key is there, and can no longer be changed."""


class KeyAdmin:
    """Changes to the keys of a database. One user at a time per connection."""

    def __init__(
        self,
        db: aiosqlite.Connection,
        pepper: bytes,
        clock: Callable[[], int] = unix_ms,
        via: Via = "cli",
    ) -> None:
        self._db = db
        self._pepper = pepper
        self._clock = clock
        self._via = via

    async def create(self, draft: KeyDraft) -> NewKey:
        """Make a key. A team that is not there yet is made too."""
        async with self._change() as audit:
            if draft.team is not None:
                await self._add_team(draft.team, audit)
            return await self._insert(draft, audit)

    async def list(self) -> list[StoredKey]:
        """All keys, newest first."""
        return await select_keys(self._db)

    async def page(
        self,
        limit: int,
        after: str | None = None,
        *,
        team: str | None = None,
        state: str | None = None,
    ) -> tuple[Sequence[StoredKey], str | None]:
        """Some keys, newest first, and the `after` of the next page. Raises `ValueError`."""
        now_ms = self._clock()
        return await page_of_keys(self._db, limit, after, now_ms, team=team, state=state)

    async def names(self, key_ids: Collection[str]) -> dict[str, str]:
        """The names of these keys by their ids."""
        return await key_names(self._db, key_ids)

    async def last_used(self, key_ids: Sequence[str]) -> dict[str, int]:
        """When each of these keys was used last, in unix milliseconds."""
        return await last_used(self._db, key_ids)

    async def show(self, key_id: str) -> StoredKey:
        """Raises `UnknownKey`."""
        found = await select_keys(self._db, key_id)
        if not found:
            raise UnknownKey(f"no key has the id {key_id!r}")
        return found[0]

    async def revoke(self, key_id: str) -> None:
        """End a key now; revoking it again changes nothing. Raises `UnknownKey`."""
        async with self._change() as audit:
            if (await self.show(key_id)).revoked_at_ms is None:
                await self._write(key_id, {"revoked_at_ms": self._clock()}, audit, "key.revoke")
            else:
                audit.unchanged()

    async def rotate(self, key_id: str, grace_s: float = 0.0) -> NewKey:
        """A new secret, under a new id, with an old key's rights.

        The old key is revoked at once or, with a grace, expires when that is over.
        Raises `UnknownKey` or `RevokedKey`.
        """
        async with self._change() as audit:
            old = await self.show(key_id)
            if old.revoked_at_ms is not None:
                raise RevokedKey(f"key {key_id} is revoked: create a new one")
            now_ms = self._clock()
            end: dict[str, Any] = {"revoked_at_ms": now_ms}
            if grace_s > 0:
                until_ms = now_ms + int(grace_s * 1000)
                end = {"expires_at_ms": min(until_ms, old.expires_at_ms or until_ms)}
            await self._write(key_id, end, audit, "key.rotate")
            return await self._insert(_successor(old), audit)

    async def update(self, key_id: str, changes: Mapping[str, Any]) -> StoredKey:
        """Change what a `KeyDraft` says. Of `settings` those named, and None removes one.

        A team that is not there yet is made too. Raises `UnknownKey`.
        """
        async with self._change() as audit:
            values = dict(changes)
            if "settings" in values:
                stored = await self.show(key_id)
                values["settings"] = _merged(stored.settings, values["settings"])
            if values.get("team") is not None:
                await self._add_team(values["team"], audit)
            return await self._write(key_id, values, audit, "key.update")

    async def bind_key(self, key_id: str, credentials: Mapping[str, str]) -> None:
        """Bind a key to named credentials, by provider, in place of all before.

        Raises `UnknownKey`.
        """
        await self.update(key_id, {"credentials": credentials})

    async def bind_team(self, team: str, credentials: Mapping[str, str]) -> None:
        """As `bind_key`, for all keys of a team that have no binding of their own."""
        await self.update_team(team, {"credentials": credentials})

    async def team_bindings(self) -> dict[str, dict[str, str]]:
        """Each team's bindings."""
        query = "SELECT name, credentials FROM teams WHERE deleted_at_ms IS NULL ORDER BY name"
        async with self._db.execute(query) as rows:
            return {name: orjson.loads(credentials) async for name, credentials in rows}

    async def set_key(self, key_id: str, settings: Mapping[str, Any]) -> StoredKey:
        """Change settings of a key; a value of None removes one. Raises `UnknownKey`."""
        return await self.update(key_id, {"settings": settings})

    async def set_team(self, team: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """As `set_key`, for a team; a new name makes a new team."""
        await self.update_team(team, {"settings": settings})
        return (await self.team_settings())[team]

    async def update_team(self, team: str, changes: Mapping[str, Any]) -> None:
        """Change `settings` (those named; None removes one) or `credentials` (all) of a team.

        A new name makes a new team.
        """
        async with self._change() as audit:
            await self._add_team(team, audit)
            before = {
                "credentials": (await self.team_bindings())[team],
                "settings": (await self.team_settings())[team],
            }
            after = {**before, **{name: dict(value) for name, value in changes.items()}}
            if "settings" in changes:
                after["settings"] = _merged(before["settings"], changes["settings"])
            await self._db.execute(
                "UPDATE teams SET credentials = ?, settings = ? WHERE name = ?",
                (to_json(after["credentials"]), to_json(after["settings"]), team),
            )
            await audit.note("team.update", team, before, after)

    async def team_members(self) -> dict[str, int]:
        """How many keys of each team are not revoked."""
        query = "SELECT team, COUNT(*) FROM keys WHERE revoked_at_ms IS NULL GROUP BY team"
        async with self._db.execute(query) as rows:
            return {team: count async for team, count in rows if team is not None}

    async def team_times(self) -> dict[str, int]:
        """When each team was made, in unix milliseconds."""
        async with self._db.execute("SELECT name, created_at_ms FROM teams") as rows:
            return {name: created_ms async for name, created_ms in rows}

    async def team_settings(self) -> dict[str, dict[str, Any]]:
        """Each team's settings."""
        query = "SELECT name, settings FROM teams WHERE deleted_at_ms IS NULL ORDER BY name"
        async with self._db.execute(query) as rows:
            return {name: orjson.loads(settings) async for name, settings in rows}

    def _change(self) -> AbstractAsyncContextManager[Audit]:
        return change(self._db, self._via, self._clock())

    async def _insert(self, draft: KeyDraft, audit: Audit) -> NewKey:
        new = await insert_key(self._db, self._pepper, draft, self._clock())
        await audit.note("key.create", new.id, None, described(await self.show(new.id)))
        return new

    async def _write(
        self, key_id: str, values: Mapping[str, Any], audit: Audit, action: str
    ) -> StoredKey:
        before = await self.show(key_id)
        await update_key(self._db, key_id, values)
        after = await self.show(key_id)
        if after.revoked_at_ms is not None:  # what was kept for it alone becomes unreadable
            await self._db.execute("DELETE FROM data_keys WHERE owner = ?", (f"key:{key_id}",))
        await audit.note(action, key_id, described(before), described(after))
        return after

    async def _add_team(self, team: str, audit: Audit) -> None:
        made = await self._db.execute(
            "INSERT INTO teams (name, credentials, created_at_ms) VALUES (?, '{}', ?) "
            "ON CONFLICT (name) DO UPDATE SET deleted_at_ms = NULL, "
            "created_at_ms = excluded.created_at_ms WHERE teams.deleted_at_ms IS NOT NULL",
            (team, self._clock()),
        )
        if made.rowcount == 1:
            await audit.note("team.create", team, None, {})


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
