"""Flights: how do identical calls share one call to a provider?

A flight is a task of its own. Listeners hold a reference each, and the last one to leave cancels
it. It runs as the call of the listener that started it, so its charges are that key's, and it
has settled before any listener sees its end. What a provider said is everybody's, an error too; a
refusal of ours, the starter's own deadline, or an answer that its budget shortens is the starter's
alone: the others board anew.

Events are kept up to `max_bytes`. Past that nobody can join any more, what the fastest reader
has read is forgotten, and a reader that needs it is ended with an error. The provider is never
read further ahead of the fastest reader than that.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from gateway.errors import DeadlineExceeded, SluiceError, Unavailable, UpstreamFailure
from gateway.exchange import (
    Call,
    Completion,
    Ending,
    Event,
    Events,
    Handler,
    Stream,
    cancel_reason,
)

Landed = Callable[["Flight"], None]

MOST_BOARDED = 8
"""So many flights a call is on before it goes alone. Each that ends with what is its starter's
only sends all its listeners on to the next: of a thousand refused calls that would be a million.
"""


class NotShared(Exception):
    """This flight's outcome is not for this listener: it has to board another one."""


class Flight:
    """One call to the path below, for all who want the same. Made by `Flights.start`."""

    def __init__(self, call: Call, handler: Handler, landed: Landed, max_bytes: int) -> None:
        self.call = call
        self.completion: Completion | None = None
        self.whole = True
        self.leaving = False
        self._facts_before = len(call.trace.facts)
        self._handler = handler
        self._landed = landed
        self._max_bytes = max_bytes
        self._batches: list[tuple[Events, int]] = []
        self._held_bytes = 0
        self._dropped = 0
        self._listeners = 0
        self._readers: set[_Reader] = set()
        self._farewell: SluiceError | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(self._over)

    @property
    def reply(self) -> Completion | list[Event]:
        """The whole answer, once the flight has landed."""
        if self.completion is not None:
            return self.completion
        return [event for batch, _ in self._batches for event in batch]

    @property
    def succeeded(self) -> bool:
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None

    @property
    def private(self) -> bool:
        """Is what comes the starter's alone, because its budget shortens the answer?"""
        facts = self.call.trace.facts[self._facts_before :]
        return not all(fact.storable for fact in facts)

    # -------------------------------------------------------------------- the flight itself

    async def _run(self) -> None:
        reply = await self._handler(self.call)
        if isinstance(reply, Completion):
            self.completion = reply
        else:
            try:
                async for events in reply:
                    await self._keep(events)
            finally:
                await reply.aclose(self._farewell)
        self._landed(self)

    async def _keep(self, events: Events) -> None:
        size = 0
        for event in events:
            if event.raw is None:  # encoded once, for all
                event.raw = event.encode()
            size += len(event.raw)
        self._batches.append((events, size))
        self._held_bytes += size
        self._tell()
        while self._held_bytes > self._max_bytes:
            self.whole = False
            front = max((reader.at for reader in self._readers), default=0)
            if self._dropped < front:
                self._held_bytes -= self._batches.pop(0)[1]
                self._dropped += 1
            else:
                await self.news()

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen, also if nobody listens any more
        self._tell()

    # ----------------------------------------------------------------------- its listeners

    def news(self) -> asyncio.Future[None]:
        """To be awaited by one: something has changed."""
        waiting: asyncio.Future[None] = self.task.get_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def _tell(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():  # cancelled
                    one.set_result(None)

    def join(self) -> None:
        """Hold a reference. `listen` and its stream give it back."""
        self._listeners += 1

    async def leave(self, reason: str, error: SluiceError | None = None) -> None:
        """Give a reference back. The last one cancels the flight, and waits until it settled."""
        self._listeners -= 1
        self._tell()
        if self._listeners == 0 and not self.task.done():
            self.leaving, self._farewell = True, error
            self.task.cancel(reason)
            await asyncio.wait({self.task})

    async def completed(self, call: Call) -> Completion | list[Event]:
        """The whole answer. Raises what the flight ended with, or `NotShared`."""
        await self._until(call, lambda: self.task.done() or not self._is_for(call))
        if not self.task.done() or not self.whole:
            await self.leave("client_gone")
            raise NotShared
        self._listeners -= 1
        self.check(call)
        return self.reply

    async def streamed(self, call: Call) -> Stream | Completion:
        """A stream of its own for this listener, from the first event on."""
        await self._until(call, lambda: self.task.done() or bool(self._batches))
        if not self._batches:
            self._listeners -= 1
            self.check(call)
            if self.completion is not None:
                return self.completion
        elif self._dropped or (call is not self.call and self.private):
            await self.leave("client_gone")
            raise NotShared
        return _Reader(self, own=call is self.call).stream()

    def _is_for(self, call: Call) -> bool:
        return self.whole and (call is self.call or not self.private)

    async def _until(self, call: Call, ready: Callable[[], bool]) -> None:
        try:
            if call is self.call:  # the path below keeps its deadline, and knows the better error
                while not ready():
                    await self.news()
                return
            async with asyncio.timeout_at(call.deadline):
                while not ready():
                    await self.news()
        except asyncio.CancelledError as error:
            await self.leave(cancel_reason(error))
            raise
        except TimeoutError:
            await self.leave(DeadlineExceeded.kind)
            raise DeadlineExceeded("The call's deadline passed.") from None

    def check(self, call: Call) -> None:
        """Raise what the flight ended with, as far as it concerns this listener."""
        if self.task.cancelled():
            raise NotShared if call is not self.call else _ended()
        error = self.task.exception()
        if error is None:
            if call is not self.call and self.private:
                raise NotShared
            return
        if call is self.call:
            raise error
        late = asyncio.get_running_loop().time() >= self.call.deadline
        if isinstance(error, UpstreamFailure) and not late:
            raise copy.copy(error)  # each listener's own: Retry's mark and the traceback differ
        raise NotShared

    # ------------------------------------------------------------------ for `_Reader` only

    def attach(self, reader: _Reader) -> None:
        self._readers.add(reader)

    async def detach(self, reader: _Reader, ending: Ending) -> None:
        self._readers.discard(reader)
        await self.leave("client_gone", ending.error)

    def after(self, at: int) -> Events | None:
        """The events from batch `at` on; None if there are no more. Raises for a lost place."""
        if at < self._dropped:
            raise Unavailable("This reader fell too far behind an answer that it shares.")
        new = self._batches[at - self._dropped :]
        if not new:
            return None
        if self._held_bytes > self._max_bytes:
            self._tell()  # there is room now
        return [event for batch, _ in new for event in batch]

    def end_at(self) -> int:
        """The number of the batch that comes next."""
        return self._dropped + len(self._batches)

    def broken(self) -> SluiceError | None:
        """What a stream that had begun ended with."""
        error = None if self.task.cancelled() else self.task.exception()
        if isinstance(error, SluiceError):
            return copy.copy(error)
        return None if self.succeeded else _ended()


class _Reader:
    """One listener's place in a flight's events: the source of its stream."""

    def __init__(self, flight: Flight, *, own: bool) -> None:
        self.at = 0
        self._flight = flight
        self._own = own
        self._closed = False
        flight.attach(self)

    def stream(self) -> Stream:
        stream = Stream(self, self._close)
        stream.on_close(self._left)
        return stream

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> Events:
        flight = self._flight
        while not self._closed:
            if not self._own and flight.private:  # the starter's budget has stopped it
                raise _ended()
            at = flight.end_at()
            events = flight.after(self.at)
            if events is not None:
                self.at = at
                return events
            if flight.task.done():
                if (error := flight.broken()) is not None:
                    raise error
                break
            await flight.news()
        raise StopAsyncIteration

    async def _close(self) -> None:
        self._closed = True

    async def _left(self, ending: Ending) -> None:
        await self._flight.detach(self, ending)


def _ended() -> Unavailable:
    return Unavailable("The call that this answer was shared with was ended.")


class Flights:
    """The flights of this process that can be joined, by cache key."""

    def __init__(self) -> None:
        self._open: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._open)

    def find(self, key: bytes) -> Flight | None:
        """A flight that can be joined from its beginning."""
        flight = self._open.get(key)
        if flight is None or flight.leaving or flight.task.done():
            return None
        return flight if flight.whole and not flight.private else None

    def start(
        self, key: bytes, call: Call, handler: Handler, landed: Landed, max_bytes: int
    ) -> Flight:
        """A new flight, which takes the place of an older one."""
        flight = self._open[key] = Flight(call, handler, landed, max_bytes)

        def remove(_: object) -> None:
            if self._open.get(key) is flight:
                del self._open[key]

        flight.task.add_done_callback(remove)
        return flight
