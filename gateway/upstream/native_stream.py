"""A native stream: how are a provider's bytes read, within which limits, and given back?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp

from gateway.errors import ResponseParsing, UpstreamFailure, UpstreamTimeout
from gateway.exchange import Events, Stream
from gateway.targets import Target
from gateway.upstream.chunks import TRUNCATED, ChunkReader

_END_OF_BODY_S = 0.05


class NativeStream:
    """The source of a `Stream`: reads while it is read, so a slow reader slows the provider.

    One timer per stream, not one per read, watches the limits: a read notes until when it may
    take, and the timer looks now and then whether that time has passed.
    """

    def __init__(self, response: aiohttp.ClientResponse, target: Target, ends_at: float) -> None:
        self._response = response
        self._content = response.content
        self._reader = ChunkReader(target)
        self._target = target
        self._idle_s = target.provider.limits.idle_s
        self._ends_at = ends_at
        self._ready: Events = []
        self._failure: UpstreamFailure | None = None
        self._loop = asyncio.get_running_loop()
        self._read_by: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Wait for the first event. The caller bounds the time."""
        try:
            self._ready = await self._next()
        except StopAsyncIteration as error:
            raise ResponseParsing(TRUNCATED) from error
        self._watch()

    def __aiter__(self) -> NativeStream:
        return self

    async def __anext__(self) -> Events:
        if self._ready:
            events, self._ready = self._ready, []
            return events
        self._read_by = min(self._loop.time() + self._idle_s, self._ends_at)
        try:
            return await self._next()
        except TimeoutError as error:
            raise timed_out(self._target) from error
        finally:
            self._read_by = None

    async def _next(self) -> Events:
        if self._failure:
            raise self._failure
        while not self._reader.done:
            try:
                data = await self._content.readany()
            except aiohttp.ClientError as error:
                if self._reader.finished:
                    break  # nothing of the answer is missing
                raise ResponseParsing(TRUNCATED) from error
            try:
                events = self._reader.feed(data) if data else self._reader.end()
            except UpstreamFailure as failure:
                if not self._reader.pending:
                    raise
                self._failure, events = failure, self._reader.pending
            if events:
                return events
            if not data:
                break
        raise StopAsyncIteration

    def _watch(self) -> None:
        now = self._loop.time()
        idle = self._read_by is not None and now >= self._read_by
        if idle or now >= self._ends_at:
            self._content.set_exception(TimeoutError())
            return
        wake_at = self._read_by if self._read_by is not None else now + self._idle_s
        self._timer = self._loop.call_at(min(wake_at, self._ends_at), self._watch)

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else cut it."""
        if self._timer:
            self._timer.cancel()
        if self._reader.done and (self._content.at_eof() or await self._ended()):
            self._response.release()
        else:
            self._response.close()

    async def _ended(self) -> bool:
        """Is the body over? Many servers write its end a moment after their last event."""
        try:
            async with asyncio.timeout(_END_OF_BODY_S):
                while not self._content.at_eof():
                    await self._content.readany()
        except (TimeoutError, aiohttp.ClientError):
            return False
        return True


async def native_stream(response: aiohttp.ClientResponse, target: Target, ends_at: float) -> Stream:
    """The stream in `response`, with its first event at hand. The caller bounds the time."""
    source = NativeStream(response, target, ends_at)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(source.aclose)
        await source.start()
        stack.pop_all()  # started: from here on the stream closes it
    return Stream(source, source.aclose)


def timed_out(target: Target) -> UpstreamTimeout:
    """The failure of a target that took longer than it may."""
    return UpstreamTimeout(f"{target.name} did not answer in time.")
