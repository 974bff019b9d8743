"""Redis: how do all its users share one connection's worth of trouble?

One client and one breaker for a Redis, whoever uses it. A Redis that fails, or does not answer
within `timeout_s`, is left alone from then on: every user gets None at once and does without it,
and no call waits a second time. A probe in the background finds out when it is back; the pauses
between probes double. Nothing is ever sent twice.

Scripts that are asked for while others are on their way go out together, in the order in which
they were asked for: one round trip, and one piece of work for many calls. What is on its way is
not cancelled with the call that asked for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

log = logging.getLogger("sluice")

T = TypeVar("T")
Argument = str | bytes | int
Sleep = Callable[[float], Awaitable[None]]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_MOST_AT_ONCE = 256
_CONNECTIONS = 64

# uvloop raises a RuntimeError for a write to a transport that the other side just closed.
_FAULTS = (RedisError, OSError, RuntimeError)


class Script:
    """A Lua script, called by its digest."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Redis:
    """A client that answers None while Redis is not to be had. `prefix` begins every key."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "sluice",
        timeout_s: float = 0.1,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._timeout_s = timeout_s
        self._prefix = prefix
        self._sleep = sleep
        self._client = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            max_connections=_CONNECTIONS + 1,  # and the probe's
        )
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._queue: list[_Asked] = []
        self._sending: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """Is it used at present?"""
        return self._probing is None

    def key(self, *parts: str) -> str:
        """A key of ours; the braces keep all of them on one node of a cluster."""
        return f"{{{self._prefix}}}:{':'.join(parts)}"

    async def start(self) -> None:
        """Connect, so that the first call does not have to; without it all goes on as well."""
        await self.run(lambda client: client.ping())

    async def run(self, command: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T | None:
        """What `command` returns; None while Redis is not to be had."""
        async with self._connections:
            if self._probing is not None:
                return None
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await command(self._client)
            except _FAULTS as error:  # a TimeoutError is an OSError
                self._failed(error)
                return None

    async def script(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any | None:
        """What a script returns; None while Redis is not to be had."""
        return await asyncio.shield(self.post(script, keys, arguments))

    def post(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> asyncio.Future[Any]:
        """Send a script off; its result, or None, comes in time and raises nothing."""
        asked = _Asked(script, keys, arguments)
        if self._probing is not None:
            asked.result.set_result(None)
            return asked.result
        self._queue.append(asked)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return asked.result

    async def aclose(self) -> None:
        """Finish what is on its way, and disconnect."""
        if self._sending is not None:
            await self._sending
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self._client.aclose()

    async def _send(self) -> None:
        """Batch after batch, until nobody asks any more."""
        while self._queue:
            batch, self._queue = self._queue[:_MOST_AT_ONCE], self._queue[_MOST_AT_ONCE:]
            results = await self.run(_Batch(batch))
            for asked, result in zip(batch, results or [None] * len(batch), strict=True):
                if not asked.result.done():  # whoever asked may have left
                    asked.result.set_result(result)
        self._sending = None

    def _failed(self, error: Exception) -> None:
        if self._probing is None:
            what = str(error) or f"no answer in {self._timeout_s:g} s"
            log.warning("redis is not used until it answers again: %s", what)
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._sleep(pause_s)
            try:
                async with asyncio.timeout(self._timeout_s):
                    # Anew: after a failover the old connections lead to what is a replica now.
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                    await self._client.ping()
            except _FAULTS:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                break
        log.warning("redis answers again")
        self._probing = None


class _Asked:
    """One script call that somebody waits for."""

    __slots__ = ("arguments", "keys", "result", "script")

    def __init__(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class _Batch:
    """Script calls as one pipeline. A script that Redis does not know yet is loaded first."""

    def __init__(self, asked: Sequence[_Asked]) -> None:
        self._asked = asked

    async def __call__(self, client: redis.asyncio.Redis) -> list[Any]:
        results = await self._evaluate(client, self._asked)
        unknown = [n for n, result in enumerate(results) if isinstance(result, NoScriptError)]
        if unknown:
            for script in {self._asked[n].script for n in unknown}:
                await client.script_load(script.text)
            again = await self._evaluate(client, [self._asked[n] for n in unknown])
            for n, result in zip(unknown, again, strict=True):
                results[n] = result
        for result in results:
            if isinstance(result, ResponseError):
                raise result
        return results

    async def _evaluate(self, client: redis.asyncio.Redis, asked: Sequence[_Asked]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for one in asked:
            pipeline.execute_command(
                "EVALSHA", one.script.digest, len(one.keys), *one.keys, *one.arguments
            )
        results: list[Any] = await pipeline.execute(raise_on_error=False)
        return results
