"""Pump: a stream's own task, its limits, and its closing.

litellm's streams have to be left in the middle: closing them does not close their connection,
cancelling the task that reads them does. So each stream is read in a task of its own, at most
`AHEAD` events ahead of the reader, and closing it is cancelling the task.

One timer watches the limits: the first event, the pause between two (not counted while the reader
is the slow one), and the whole attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from gateway.errors import UpstreamFailure
from gateway.exchange import Event, Events
from gateway.targets import Limits

AHEAD = 16


class Pump:
    """An iterator over lists of events. `start` waits for the first; `aclose` is idempotent.

    `source` is read to its end and closed in the task. `timeout` makes the failure for a limit
    that was passed; `release` frees what the source left open.
    """

    def __init__(
        self,
        source: AsyncGenerator[Event, None],
        limits: Limits,
        deadline: float,
        timeout: Callable[[], UpstreamFailure],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self._source = source
        self._limits = limits
        self._timeout = timeout
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._events: Events = []
        self._news = asyncio.Event()  # for the reader: events, or the end
        self._room = asyncio.Event()  # for the task: the reader has taken the events
        self._failure: BaseException | None = None
        self._ended = False
        self._last = min(self._loop.time() + limits.total_s, deadline)
        self._due = min(self._loop.time() + limits.first_event_s, self._last)
        self._timer = self._loop.call_at(self._due, self._check)
        self._task = self._loop.create_task(self._run())

    async def start(self) -> None:
        """Wait for the first event. Raises the failure of a stream that has none."""
        try:
            await self._news.wait()
        except asyncio.CancelledError:
            await asyncio.shield(self.aclose())
            raise
        if not self._events:
            await self.aclose()
            raise self._failure or self._task.exception() or EOFError("a source without an event")

    def __aiter__(self) -> Pump:
        return self

    async def __anext__(self) -> Events:
        while not self._events:
            if self._ended:
                await asyncio.wait({self._task})
                raise self._failure or self._task.exception() or StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        events, self._events = self._events, []
        self._room.set()
        return events

    async def aclose(self) -> None:
        self._timer.cancel()
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._release()

    async def _run(self) -> None:
        try:
            async with aclosing(self._source) as source:
                async for event in source:
                    self._events.append(event)
                    self._news.set()
                    if len(self._events) >= AHEAD:
                        await self._full()
                    self._allow(self._limits.idle_s)
        except asyncio.CancelledError:
            if self._failure is None:  # closed; otherwise a limit was passed
                raise
        except UpstreamFailure as failure:
            self._failure = failure
        finally:
            self._ended = True
            self._timer.cancel()
            self._news.set()

    async def _full(self) -> None:
        """Wait for a slow reader; the provider's pause does not count meanwhile."""
        self._due = self._last
        self._room.clear()
        await self._room.wait()

    def _allow(self, seconds: float) -> None:
        """Move the limit. A timer that fires too early asks again; one too late is replaced."""
        self._due = min(self._loop.time() + seconds, self._last)
        if self._due < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._due, self._check)

    def _check(self) -> None:
        """The timer: is the limit passed, or was it moved?"""
        if self._loop.time() >= self._due:
            self._failure = self._timeout()
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(self._due, self._check)
