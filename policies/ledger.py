"""Ledger: one row per call when it ends, refusals included."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from gateway.errors import ClientGone, DeadlineExceeded, Draining, SluiceError
from gateway.exchange import Call, Completion, Ending, Handler, Reply, cancel_reason
from gateway.parts import Sink
from gateway.record import call_record

_STATUS_OF_CANCELLED = {
    ending.kind: ending.status for ending in (ClientGone, DeadlineExceeded, Draining)
}


class Ledger:
    """Tells every sink how each call ended. Sinks return at once."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if call.dry_run:
            return await call_next(call)
        async with _Entry(call, self._sinks) as entry:
            reply = await call_next(call)
            if isinstance(reply, Completion):
                entry.write(200, None)
            else:
                reply.on_close(entry.streamed)
        return reply


class _Entry:
    """The row of one call. Leaving its `async with` by an exception writes it."""

    def __init__(self, call: Call, sinks: Sequence[Sink]) -> None:
        self._call = call
        self._sinks = sinks

    def write(self, status: int, error: str | None) -> None:
        record = call_record(self._call, status, error)
        for sink in self._sinks:
            sink(self._call, record)

    async def streamed(self, ending: Ending) -> None:
        """A streamed answer is over. Its head has been sent, so its status stays 200."""
        if ending.how == "abandoned":
            self.write(499, "client_gone")
        else:
            self.write(200, ending.error.kind if ending.error else None)

    async def __aenter__(self) -> _Entry:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, SluiceError):
            self.write(error.status, error.kind)
        elif isinstance(error, asyncio.CancelledError):
            reason = cancel_reason(error)
            self.write(_STATUS_OF_CANCELLED.get(reason, Draining.status), reason)
        elif error is not None:
            self.write(500, "internal_error")
