"""`/calls/live`: which calls are ending right now?

Server-sent events, one for each call of the whole deployment: the database is looked at about each
second, so that other processes' calls come too. A listener follows at its own pace. It is sent
away now and then, and comes back with the place where it was: so nobody listens on who has been
signed out since.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.edge.admin.calls import call_rows
from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import Text, Whole
from gateway.edge.asgi import header
from gateway.errors import RateLimitExceeded
from gateway.store.livecalls import AT_ONCE, calls_after, last_place

MOST = 20
"""Listeners of one process."""
POLL_S = 1.0
HEARTBEAT_S = 15.0
LIFE_S = 600.0
_MEDIA_TYPE = "text/event-stream"


class LiveCalls:
    """Calls as they end."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._listeners = 0

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/calls/live",
            summary="Calls as they end, as server-sent events; each `id` is a place to go on from.",
            act=self.follow,
            query={"after": Whole()},
            answer=Text(free=True),
            media_type=_MEDIA_TYPE,
        )

    async def follow(self, ask: Ask) -> Response:
        if ask.scope["method"] == "HEAD":
            return Response(media_type=_MEDIA_TYPE)
        if self._listeners >= MOST:
            raise RateLimitExceeded(
                f"{MOST} listeners are here already.", retry_after_s=HEARTBEAT_S
            )
        self._listeners += 1  # before anybody else can ask
        try:
            place = await self._place(ask)
        except BaseException:
            self._left()
            raise
        return _Following(self._events(place), self._left)

    async def _place(self, ask: Ask) -> int:
        async with self._parts.desk.looking() as look:
            place = await last_place(look.db)  # from now on
        seen = header(ask.scope, b"last-event-id") or ""
        if seen.isdecimal() and len(seen) < 19:
            return min(place, int(seen))
        after: int = ask.query.get("after", place)
        return min(place, after)

    async def _events(self, place: int) -> AsyncIterator[bytes]:
        loop, desk = asyncio.get_running_loop(), self._parts.desk
        ends_at = loop.time() + LIFE_S
        spoke_at = loop.time()
        yield b"retry: 1000\n\n"
        while not self._parts.visits.draining and loop.time() < ends_at:
            async with desk.looking() as look:
                found = await calls_after(look.db, place)
                rows = await call_rows(look, [row for _, row in found])
            for (place, _), row in zip(found, rows, strict=True):
                yield b"id: %d\nevent: call\ndata: %b\n\n" % (place, orjson.dumps(row))
            if found:
                spoke_at = loop.time()
            elif loop.time() - spoke_at >= HEARTBEAT_S:
                yield b": \n\n"
                spoke_at = loop.time()
            if len(found) < AT_ONCE:
                await asyncio.sleep(POLL_S)

    def _left(self) -> None:
        self._listeners -= 1


class _Following(StreamingResponse):
    """An answer that tells when nobody reads it any more."""

    def __init__(self, events: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(events, media_type=_MEDIA_TYPE, headers={"x-accel-buffering": "no"})
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()
