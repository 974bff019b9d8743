"""The keyring: which virtual key belongs to a presented secret?

All keys are in memory, by digest. A change to keys bumps `keys_version` in its transaction; the
version is read every `POLL_S`, and a new one reloads the keys, so that a revocation holds within
a second in every process. A digest that is not known is looked for once more, by a read of the
version that begins after the question, so that a new key works at once; digests that are in no
database are remembered (bounded) until the version changes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import aiosqlite
import orjson

from gateway.errors import Unavailable
from gateway.keys import VirtualKey, digest

POLL_S = 0.25
MAX_UNKNOWN = 10_000
MAX_REMEMBERED = 10_000
_READ_TIMEOUT_S = 1.0

_SELECT_KEYS = """
SELECT keys.digest, keys.id, keys.name, keys.team, keys.models, keys.tags, keys.credentials,
       keys.expires_at_ms, keys.revoked_at_ms, keys.settings, teams.credentials, teams.settings
FROM keys LEFT JOIN teams ON teams.name = keys.team
"""

_log = logging.getLogger(__name__)

Also = Callable[[aiosqlite.Connection], Awaitable[None]]
"""Something else that a change of `keys_version` announces, to be read with the keys."""


class Keyring:
    """The keys of a database, as of at most `max_stale_s` ago. `monotonic` is in seconds."""

    def __init__(
        self,
        db: aiosqlite.Connection,
        pepper: bytes,
        max_stale_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        also: Sequence[Also] = (),
    ) -> None:
        self._db = db
        self._also = also
        self._pepper = pepper
        self._max_stale_s = max_stale_s
        self._monotonic = monotonic
        self._keys: Mapping[bytes, VirtualKey] = {}
        self._unknown: set[bytes] = set()
        # OpenSSL's HMAC gives the interpreter lock away, and winning it back from the ledger's
        # thread costs 50 µs a call. So digests of keys that exist are remembered by a fingerprint
        # under a key that only this process has: cheap, and no secret stays in memory.
        self._salt = secrets.token_bytes(32)
        self._digests: dict[bytes, bytes] = {}
        self._version = 0
        self._read_at_s = -float("inf")
        self._reading = asyncio.Lock()
        self._next_read: asyncio.Task[None] | None = None

    async def find(self, secret: str) -> VirtualKey | None:
        """The key that `secret` opens, expired and revoked ones included; None for no key.

        Raises `Unavailable` when the keys are too old to be trusted.
        """
        fingerprint = blake2b(secret.encode("utf-8", "surrogateescape"), key=self._salt).digest()
        wanted = self._digests.get(fingerprint) or digest(self._pepper, secret)
        key = self._keys.get(wanted)
        if key is None and wanted not in self._unknown:
            key = await self._look_again(wanted)
        if key is not None:
            self._remember(fingerprint, wanted)
        if not self.fresh:
            raise Unavailable("Keys cannot be checked at the moment; try again in a moment.")
        return key

    def _remember(self, fingerprint: bytes, wanted: bytes) -> None:
        if len(self._digests) >= MAX_REMEMBERED:
            self._digests.clear()
        self._digests[fingerprint] = wanted

    @property
    def fresh(self) -> bool:
        """Has the version been read recently enough?"""
        return self._monotonic() - self._read_at_s <= self._max_stale_s

    async def refresh(self) -> None:
        """Read the version, and the keys if it changed. Raises `sqlite3.Error`."""
        async with self._reading:
            await self._read()

    async def run(self) -> None:
        """Refresh every `POLL_S`, for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except (sqlite3.Error, ValueError) as error:
                _log.warning("keys not read: %s", error)

    async def _look_again(self, wanted: bytes) -> VirtualKey | None:
        if self._next_read is None:
            self._next_read = asyncio.create_task(self._read_next())
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                await asyncio.shield(self._next_read)
        except (sqlite3.Error, ValueError, TimeoutError) as error:
            raise Unavailable("Keys cannot be checked at the moment.") from error
        key = self._keys.get(wanted)
        if key is None:
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown.add(wanted)
        return key

    async def _read_next(self) -> None:
        """One read for all who ask before it begins; whoever asks later needs the one after."""
        async with self._reading:
            self._next_read = None
            await self._read()

    async def _read(self) -> None:
        began_s = self._monotonic()
        version = await self._read_version()
        if version != self._version:
            # The version is read before the keys: keys of a later version are reloaded once more.
            self._keys = await self._load()
            for read in self._also:
                await read(self._db)
            self._unknown.clear()
            self._version = version
        self._read_at_s = began_s

    async def _read_version(self) -> int:
        async with self._db.execute("SELECT version FROM keys_version") as rows:
            row = await rows.fetchone()
        return int(row[0]) if row else 0

    async def _load(self) -> dict[bytes, VirtualKey]:
        async with self._db.execute(_SELECT_KEYS) as rows:
            return {bytes.fromhex(row[0]): virtual_key(*row[1:]) async for row in rows}


def virtual_key(
    key_id: str,
    name: str,
    team: str | None,
    models: str,
    tags: str,
    credentials: str,
    expires_at_ms: int | None,
    revoked_at_ms: int | None,
    settings: str,
    team_credentials: str | None,
    team_settings: str | None,
) -> VirtualKey:
    """A key from its columns; its own bindings go over its team's."""
    bindings: dict[str, Any] = orjson.loads(team_credentials or "{}")
    return VirtualKey(
        id=key_id,
        name=name,
        team=team,
        models=tuple(orjson.loads(models)),
        tags=tuple(orjson.loads(tags)),
        expires_at=expires_at_ms / 1000 if expires_at_ms is not None else None,
        revoked_at=revoked_at_ms / 1000 if revoked_at_ms is not None else None,
        credentials=bindings | orjson.loads(credentials),
        settings=orjson.loads(settings),
        team_settings=orjson.loads(team_settings or "{}"),
    )
