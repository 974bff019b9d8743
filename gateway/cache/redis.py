"""The cache in Redis: how do several hosts share what was answered?

Redis keeps the time and makes the room (`maxmemory-policy allkeys-lru`). While it is not to be
had there are only misses; the client's breaker sees to it that this costs one short wait, once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from gateway.cache.entry import Entry
from gateway.cache.epochs import Scope

_MOST_WAITING = 256
_SCANNED_AT_ONCE = 500
_SPECIAL = re.compile(r"([*?\[\]\\^-])")  # in a pattern of Redis
_LONGEST_S = 1e9  # what Redis refuses would look like a fault of Redis


class Client(Protocol):
    """What is used of the Redis client: None is a Redis that is not to be had."""

    @property
    def available(self) -> bool: ...

    def key(self, *parts: str) -> str: ...

    async def run(self, command: Callable[[Any], Awaitable[Any]]) -> Any: ...


class RedisStore:
    """Entries in Redis. What is on its way there is not cancelled with the call that sent it."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._tasks: set[asyncio.Task[Any]] = set()

    async def get(self, key: bytes) -> Entry | None:
        if not self._client.available:
            return None
        name = self._name(key)
        stored = await asyncio.shield(self._send(lambda redis: redis.get(name)))
        # An entry says whose it is: an answer that was mixed up on its way is nobody's.
        if stored is None or not stored.startswith(key):
            return None
        try:
            return Entry.decode(stored[len(key) :])
        except (ValueError, TypeError):
            return None

    def put(self, key: bytes, entry: Entry) -> None:
        """Send an entry off; not while too much is on its way."""
        left_ms = int(min(entry.expires_at - self._now(), _LONGEST_S) * 1000)
        if left_ms > 0 and len(self._tasks) < _MOST_WAITING and self._client.available:
            name, stored = self._name(key), key + entry.encode()
            self._send(lambda redis: redis.set(name, stored, px=left_ms))

    async def drop(self, scope: Scope) -> int | None:
        """Delete the entries in a scope; how many. None: Redis is not to be had any more."""
        begin = _SPECIAL.sub(r"\\\1", self._client.key("cache", ""))
        pattern = f"{begin}{scope.pattern()}*"
        cursor, dropped = 0, 0
        while True:
            page = await self._client.run(partial(_page, pattern, cursor))
            if page is None:
                return None
            cursor, names = page
            if names:
                dropped += await self._client.run(partial(_unlink, names)) or 0
            if cursor == 0:
                return dropped

    async def close(self) -> None:
        """Wait for what is on its way; the client bounds the time."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _name(self, key: bytes) -> str:
        return self._client.key("cache", key.hex())

    def _send(self, command: Callable[[Any], Awaitable[Any]]) -> asyncio.Task[Any]:
        task = asyncio.create_task(self._run(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, command: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self._client.run(command)


async def _page(pattern: str, cursor: int, redis: Any) -> Any:
    return await redis.scan(cursor, match=pattern, count=_SCANNED_AT_ONCE)


async def _unlink(names: Sequence[bytes], redis: Any) -> Any:
    return await redis.unlink(*names)
