"""HTTP/1.1 on the wire: which requests are let in at all, and how long may they take to arrive?

uvicorn's parser is lenient, and nothing above it sees a request before its head is whole. So what
is malformed, ambiguous (a proxy in front could read it differently), endless or too slow is refused
here, and the connection closed. Sources: RFC 9112 § 3.2 (Host), § 6.1 and 6.3 (framing).
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.edge.asgi import HANG_UP
from gateway.errors import InvalidRequest

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
HEAD_S = 15.0
REQUEST_S = 120.0
_LOOK_S = 5.0


class Refused(Exception):
    """Raised within the parser's callbacks: it stops there."""


class StrictProtocol(HttpToolsProtocol):
    """One connection. `scope["extensions"]["sluice.hang_up"]` cuts it without waiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._since: float | None = None  # when the client last began to owe us something
        self._looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._looking = self.loop.call_later(_LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            data = _without_upgrade(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and self.parser is not None:
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            raise Refused  # pipelined: nobody could tell whose departure a closed connection is
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"abort": self.transport.abort}}
        self._in_head = True
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if fault := _fault(self.parser.get_http_version(), self.headers):
            raise Refused(fault)
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._since = None
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The refusal in OpenAI's shape; then the connection is closed."""
        if self.transport.is_closing():
            return
        body = orjson.dumps(InvalidRequest(msg).body())
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _look(self) -> None:
        """Now and then: has the client taken too long over a request?"""
        limit_s = HEAD_S if self._in_head else REQUEST_S
        if self._since is not None and self.loop.time() - self._since > limit_s:
            self.transport.abort()
            return
        self._looking = self.loop.call_later(_LOOK_S, self._look)


def _fault(version: str, headers: list[tuple[bytes, bytes]]) -> str | None:
    """What is wrong with a head; None if it is good."""
    if version not in ("1.1", "1.0"):
        return "This server speaks HTTP/1.1."
    if len(headers) > MAX_HEADERS:
        return f"A request may have at most {MAX_HEADERS} headers."
    if sum([len(name) + len(value) for name, value in headers]) > MAX_HEAD_BYTES:
        return "The head of the request is too large."
    names = [name for name, _ in headers]
    if version == "1.1" and names.count(b"host") != 1:
        return "A request must have exactly one Host header."
    if names.count(b"content-length") > 1:
        return "A request may have one Content-Length header."
    if b"transfer-encoding" in names:
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if codings != [b"chunked"] or b"content-length" in names:
            return "The only Transfer-Encoding is chunked, without a Content-Length."
    return None


def _without_upgrade(data: bytes) -> bytes:
    """The start of a request without its wish to change the protocol.

    Java's client asks for h2c with its first request, and the parser would drop that one's body.
    RFC 9110 § 7.8: a server may ignore the header.
    """
    head, blank, body = data.partition(b"\r\n\r\n")
    if b"pgrade:" not in head:
        return data
    for name in (b"\r\nUpgrade:", b"\r\nupgrade:"):
        head = head.replace(name, b"\r\nIgnored:")
    return head + blank + body
