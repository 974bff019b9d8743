"""Sealed entries: what lies on disk or in Redis, where nobody else is to read it?

An entry is sealed with the data key of its owner, and bound to its cache key: moved to another
key's place it does not open. What does not open is a miss, and is counted. Entries in memory are
not sealed: whoever can read the memory of the process can read its keys as well.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.cache.entry import Entry
from gateway.cache.epochs import Scope
from gateway.sealing import DataKeys, NoDataKey, Sealer, Unsealable

_CONTEXT = b"cache entry\0"


class Behind(Protocol):
    """What stands behind the memory: neither method raises, or makes a call wait for long."""

    async def get(self, key: bytes) -> Entry | None: ...

    def put(self, key: bytes, entry: Entry) -> None: ...

    async def drop(self, scope: Scope) -> int | None:
        """Delete the entries in a scope; how many. None: they could not be reached."""


class Seals:
    """Seals entries on their way to what stands behind the memory, and opens them."""

    def __init__(self, data_keys: DataKeys) -> None:
        self._data_keys = data_keys
        self._tasks: set[asyncio.Task[None]] = set()

    async def opened(self, owner: str, key: bytes, stored: Entry) -> Entry | None:
        """What was sealed; None for what cannot be read, entries that were never sealed too."""
        if stored.kind != "sealed":
            return None
        try:
            sealer = await self._data_keys.find(owner)
        except NoDataKey:
            return None
        return None if sealer is None else _opened(sealer, key, stored)

    def put(self, behind: Behind, owner: str, key: bytes, entry: Entry) -> None:
        """Seal an entry and pass it on; the owner's first one waits for its data key."""
        sealer = self._data_keys.known(owner)
        if sealer is not None:
            behind.put(key, _sealed(sealer, key, entry))
            return
        task = asyncio.create_task(self._put(behind, owner, key, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is on its way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _put(self, behind: Behind, owner: str, key: bytes, entry: Entry) -> None:
        try:
            sealer = await self._data_keys.make(owner)
        except NoDataKey:
            return  # it is not kept then
        behind.put(key, _sealed(sealer, key, entry))


def _sealed(sealer: Sealer, key: bytes, entry: Entry) -> Entry:
    """An entry that shows no more than its times."""
    return Entry(
        kind="sealed",
        payload=sealer.seal(entry.encode(), _CONTEXT + key),
        usage=None,
        cost_nano_usd=None,
        stored_at=entry.stored_at,
        expires_at=entry.expires_at,
    )


def _opened(sealer: Sealer, key: bytes, stored: Entry) -> Entry | None:
    try:
        return Entry.decode(sealer.open(stored.payload, _CONTEXT + key))
    except (Unsealable, ValueError, TypeError):
        return None
