"""What comes in: from an HTTP request to a call."""

from __future__ import annotations

import asyncio
import time

from starlette.types import Receive, Scope

from gateway.config import Config
from gateway.edge.asgi import credential, plain_headers, read_body
from gateway.edge.controls import controls, deadline_s
from gateway.exchange import Call
from gateway.trace import Trace
from gateway.wire.requests import parse_chat_request

_LARGE_BYTES = 512 * 1024


class Incoming:
    """Reads requests whose body is a chat completion request."""

    def __init__(self, config: Config) -> None:
        self._max_body_bytes = config.server.max_body_bytes
        self._deadline_s = config.calls.deadline_s

    async def call(
        self, scope: Scope, receive: Receive, call_id: str, trace: Trace, *, dry_run: bool = False
    ) -> Call:
        """The call that a request asks for.

        Raises `ClientLeft`, and `InvalidRequest` or its like for what is no request.
        """
        received_at, now = time.time(), asyncio.get_running_loop().time()
        raw = await read_body(scope, receive, self._max_body_bytes)
        trace.begin()
        if len(raw) > _LARGE_BYTES:  # other calls go on meanwhile
            body, given = await asyncio.to_thread(parse_chat_request, raw)
        else:
            body, given = parse_chat_request(raw)
        headers = plain_headers(scope)
        wishes = controls(headers, given)
        return Call(
            id=call_id,
            body=body,
            credential=credential(scope),
            headers=headers,
            controls=wishes,
            received_at=received_at,
            deadline=now + deadline_s(wishes, self._deadline_s),
            trace=trace,
            dry_run=dry_run,
        )
