"""Event streams: how does a streamed answer reach the client?

The head goes out with the first event, so that a failure before it keeps its status. If nothing
has come for `first_heartbeat_s`, the head goes out with a comment instead, and from then on an
error is an event. A heartbeat is not content: the request path does not notice it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import orjson
from starlette.types import Send

from gateway.config import Server
from gateway.errors import DeadlineExceeded, SluiceError
from gateway.exchange import Events
from gateway.wire.sse import DONE_EVENT, HEARTBEAT

_LAST_WORDS_S = 1.0


class EventStream:
    """The client's side of one stream. `headers` is asked when the head goes out.

    `expire` is called once if `deadline` (loop time) passes first, also when the client is what
    makes it slow.
    """

    def __init__(
        self,
        send: Send,
        headers: Callable[[], Mapping[str, str]],
        settings: Server,
        deadline: float,
        expire: Callable[[str], None],
        hang_up: Callable[[], None],
    ) -> None:
        self.started = False
        self._send = send
        self._headers = headers
        self._settings = settings
        self._deadline = deadline
        self._expire = expire
        self._hang_up = hang_up
        self._sending = False
        self._loop = asyncio.get_running_loop()
        self._last_at = self._loop.time()
        first_at = self._last_at + settings.first_heartbeat_s
        self._timer = self._loop.call_at(min(first_at, deadline), self._beat)
        self._beats: set[asyncio.Task[None]] = set()

    async def send(self, events: Events) -> None:
        """Send events in one write. Suspends while the client is behind."""
        if events:
            await self._write(b"".join([event.encode() for event in events]))

    async def finish(self) -> None:
        """The stream is whole, and settled."""
        await self._write(DONE_EVENT, last=True)

    async def fail(self, error: SluiceError) -> None:
        """Something went wrong after the head was sent: an error event, and never `[DONE]`.

        A client that does not read is not waited for: its connection is cut.
        """
        event = b"data: " + orjson.dumps(error.body()) + b"\n\n"
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._write(event, last=True)
        except TimeoutError:
            self._hang_up()

    def stop(self) -> None:
        """No more heartbeats. Idempotent."""
        self._timer.cancel()
        for task in self._beats:
            task.cancel()

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        self._sending = True
        if not self.started:
            self.started = True
            await self._send(_head(self._headers()))
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        self._sending = False
        self._last_at = self._loop.time()

    def _beat(self) -> None:
        """Look whether the client has waited too long: one timer, however many events pass."""
        now = self._loop.time()
        if now >= self._deadline:
            self._expire(DeadlineExceeded.kind)
            return
        pause_s = self._settings.heartbeat_s
        due = self._last_at + (pause_s if self.started else self._settings.first_heartbeat_s)
        if now >= due and not self._sending:
            task = self._loop.create_task(self._write(HEARTBEAT))
            self._beats.add(task)
            task.add_done_callback(self._beats.discard)
            due = now + pause_s
        self._timer = self._loop.call_at(
            min(max(due, now + pause_s / 4), self._deadline), self._beat
        )


def _head(headers: Mapping[str, str]) -> dict[str, object]:
    named = {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        **headers,
    }
    encoded = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in named.items()]
    return {"type": "http.response.start", "status": 200, "headers": encoded}


def hide_usage(events: Events) -> Events:
    """For a client that did not ask for a stream's usage: without it."""
    if not any(event.usage for event in events):
        return events
    kept = (event for event in events if not event.usage or event.data.get("choices"))
    return [
        event.with_data({k: v for k, v in event.data.items() if k != "usage"})
        if event.usage
        else event
        for event in kept
    ]
