"""`POST /v1/chat/completions`: from an HTTP request to a call, and from its reply to an answer.

Everything runs in the server's own task for the request. Beside it, unless the answer comes at
once, one small task listens for the client's departure and cancels it; the request path closes
what it opened and settles.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from gateway.config import Config
from gateway.edge.asgi import (
    ClientLeft,
    hang_up_of,
    new_call_id,
    send_answer,
    send_error,
)
from gateway.edge.eventstream import EventStream, hide_usage
from gateway.edge.incoming import Incoming
from gateway.edge.visits import Visit, Visits, Watch
from gateway.errors import DeadlineExceeded, Draining, InternalError, SluiceError
from gateway.exchange import Call, Completion, Handler, Stream, cancel_reason
from gateway.record import attempts, trace_headers
from gateway.trace import Trace

log = logging.getLogger("sluice")

_UNFORESEEN = "The gateway failed. Its log tells why."

Refused = Callable[[SluiceError], None]


class ChatCompletions:
    """The endpoint. `path` is the whole chain; `refused` hears of errors that are no call's."""

    def __init__(self, path: Handler, config: Config, visits: Visits, refused: Refused) -> None:
        self._path = path
        self._incoming = Incoming(config)
        self._server = config.server
        self._calls = config.calls
        self._visits = visits
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call_id, trace = new_call_id(), Trace()
        visit = Visit(self._visits, hang_up_of(scope))
        try:
            with visit:
                call = await self._incoming.call(scope, receive, call_id, trace)
                await self._serve(call, visit, receive, send)
        except ClientLeft:
            return
        except asyncio.CancelledError:
            if visit.reason is None:
                raise
            visit.survive()
            if visit.reason != "client_gone":
                known = _cancelled(visit.reason)
                if isinstance(known, DeadlineExceeded) and attempts(trace).made > 1:
                    known.should_retry = False  # the time went by with repeating
                await send_error(send, known, trace_headers(call_id, trace))
        except Exception as error:  # noqa: BLE001 - the HTTP edge: the client gets an answer
            known = _known(error)
            if not trace.facts:
                self._refused(known)
            await send_error(send, known, trace_headers(call_id, trace))

    async def _serve(self, call: Call, visit: Visit, receive: Receive, send: Send) -> None:
        if not call.stream and self._calls.client_gone == "finish":
            await self._unstreamed(call, send)
            return
        with Watch(receive, visit):
            if call.stream:
                await self._streamed(call, visit, send)
            else:
                await self._unstreamed(call, send)

    async def _unstreamed(self, call: Call, send: Send) -> None:
        reply = await self._path(call)
        if isinstance(reply, Stream):
            await reply.aclose()
            raise TypeError("the path answered an unstreamed call with a stream")
        headers = trace_headers(call.id, call.trace)
        await send_answer(send, 200, reply.encode(), headers, "application/json")

    async def _streamed(self, call: Call, visit: Visit, send: Send) -> None:
        def headers() -> dict[str, str]:
            return trace_headers(call.id, call.trace)

        client = EventStream(
            send, headers, self._server, call.deadline, visit.cancel, visit.hang_up
        )
        try:
            reply = await self._path(call)
            if isinstance(reply, Completion):
                raise TypeError("the path answered a streamed call with a completion")
            if not call.wants_usage:
                reply.through(hide_usage)
            await _relay(reply, client, visit)
        except Exception as error:  # the HTTP edge, once the head is out
            if not client.started:
                raise
            await client.fail(_known(error))
        except asyncio.CancelledError as error:
            if not client.started or visit.reason in (None, "client_gone"):
                raise
            visit.survive()
            await client.fail(_cancelled(cancel_reason(error)))
        finally:
            client.stop()


async def _relay(stream: Stream, client: EventStream, visit: Visit) -> None:
    """Events to the client; the end of the stream only once it is closed, and so settled."""
    try:
        async for events in stream:
            await client.send(events)
    finally:
        await stream.aclose(_why(visit, sys.exception()))
    await client.finish()


def _why(visit: Visit, error: BaseException | None) -> SluiceError | None:
    """What ended a stream early; None if its reader left."""
    if isinstance(error, asyncio.CancelledError):
        return None if visit.reason in (None, "client_gone") else _cancelled(visit.reason)
    if isinstance(error, SluiceError):
        return error
    return InternalError(_UNFORESEEN) if isinstance(error, Exception) else None


def _known(error: Exception) -> SluiceError:
    """The error that the client is told. One of ours that nobody foresaw is logged."""
    if isinstance(error, SluiceError):
        return error
    log.error("a call failed within the gateway", exc_info=error)
    return InternalError(_UNFORESEEN)


def _cancelled(reason: str | None) -> SluiceError:
    if reason == DeadlineExceeded.kind:
        return DeadlineExceeded("The call's deadline passed.")
    return Draining("This gateway process is shutting down. Try again at once.")
