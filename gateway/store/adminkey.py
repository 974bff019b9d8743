"""The admin key, and the first keys of all: how does an empty database become usable?"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

import aiosqlite

from gateway.keys import ADMIN_KEY_PREFIX, digest, new_secret
from gateway.store.audit import Audit, Via
from gateway.store.keytable import (
    KeyDraft,
    NewKey,
    change,
    described,
    insert_key,
    select_keys,
)
from gateway.store.leases import unix_ms

_SELECT_DIGEST = "SELECT value FROM meta WHERE name = 'admin_digest'"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstKeys:
    """What a start had to make; None where it was there, or was set by the operator."""

    key: NewKey | None
    admin_secret: str | None = field(repr=False)


class AdminKey:
    """The one key that opens the operator's routes. Stored as a digest, like any other."""

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

    async def reset(self, secret: str | None = None) -> str:
        """Set the admin key to `secret`, or to a new one. What it was opens nothing any more."""
        secret = secret or _new_admin_secret()
        async with change(self._db, self._via, self._clock()) as audit:
            await self._write(secret, audit)
        return secret

    async def check(self, secret: str) -> bool:
        """Is `secret` the admin key, as of now?"""
        return hmac.compare_digest(await self._stored(), self._digest(secret))

    async def session_secret(self) -> bytes | None:
        """What sessions are signed with: another one once the admin key has changed."""
        stored = await self._stored()
        return hmac.digest(self._pepper, f"session {stored}".encode(), "sha256") if stored else None

    async def first_keys(self, admin_secret: str | None = None) -> FirstKeys:
        """Make the first virtual key and the admin key where there is none, in one transaction.

        `admin_secret` is the operator's choice and replaces the stored admin key. Of two
        processes that start together, one makes the keys.
        """
        made_key, made_secret = None, None
        async with change(self._db, "start", self._clock()) as audit:
            audit.unchanged()  # at every start but the first
            if admin_secret is not None:
                if not await self.check(admin_secret):
                    await self._write(admin_secret, audit)
            elif not await self._stored():
                made_secret = _new_admin_secret()
                await self._write(made_secret, audit)
            if await self._no_key():
                draft = KeyDraft(name="first")
                made_key = await insert_key(self._db, self._pepper, draft, self._clock())
                (stored,) = await select_keys(self._db, made_key.id)
                await audit.note("key.create", made_key.id, None, described(stored))
        return FirstKeys(key=made_key, admin_secret=made_secret)

    def _digest(self, secret: str) -> str:
        return digest(self._pepper, secret).hex()

    async def _stored(self) -> str:
        async with self._db.execute(_SELECT_DIGEST) as rows:
            row = await rows.fetchone()
        return str(row[0]) if row else ""

    async def _no_key(self) -> bool:
        async with self._db.execute("SELECT 1 FROM keys LIMIT 1") as rows:
            return await rows.fetchone() is None

    async def _write(self, secret: str, audit: Audit) -> None:
        await audit.note("admin_key.set", "admin")
        await self._db.execute(
            "INSERT INTO meta (name, value, created_at_ms) VALUES ('admin_digest', ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value, "
            "created_at_ms = excluded.created_at_ms",
            (self._digest(secret), self._clock()),
        )


def _new_admin_secret() -> str:
    return new_secret(ADMIN_KEY_PREFIX)[1]
