"""ASGI by hand: read a body under a cap, send an answer, notice that the client has left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from gateway.errors import BodyTooLarge, Draining, SluiceError, UnsupportedMediaType

HANG_UP = "sluice.hang_up"
_CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"}
)


class ClientLeft(Exception):
    """The connection closed before the request's body was complete."""


# An id is no secret. Reading the system's random numbers for each would release the interpreter
# lock to the ledger's thread, which costs more than the whole parsing of a request.
_ids = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311


def new_call_id() -> str:
    """`call_` and 128 bits, 48 of them the time in milliseconds: ids sort by age."""
    return f"call_{time.time_ns() // 1_000_000:012x}{_ids.getrandbits(80):020x}"


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def credential(scope: Scope) -> str | None:
    """The key that a request presents: `Authorization: Bearer`, `x-api-key` or `api-key`."""
    if authorization := header(scope, b"authorization"):
        scheme, _, secret = authorization.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else None
    return header(scope, b"x-api-key") or header(scope, b"api-key")


def plain_headers(scope: Scope) -> dict[str, str]:
    """The caller's headers without anything that is a credential."""
    named = ((key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"])
    return {key: value for key, value in named if key not in _CREDENTIAL_HEADERS}


def from_loopback(scope: Scope) -> bool:
    """Does the request come from this machine itself, and not through a proxy on it?"""
    client = scope.get("client")
    forwarded = header(scope, b"x-forwarded-for") or header(scope, b"forwarded")
    local = client is not None and (client[0].startswith("127.") or client[0] == "::1")
    return local and not forwarded


def hang_up_of(scope: Scope) -> Callable[[], None]:
    """What cuts the client's connection (`gateway.protocol`); nothing behind another server."""
    extension = scope.get("extensions", {}).get(HANG_UP)
    abort: Callable[[], None] = extension["abort"] if extension else _nothing
    return abort


def _nothing() -> None:
    pass


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLarge`, `UnsupportedMediaType` or `ClientLeft`."""
    encoding = header(scope, b"content-encoding")
    if encoding and encoding.lower() != "identity":
        raise UnsupportedMediaType("Compressed request bodies are not accepted. Send plain JSON.")
    length = header(scope, b"content-length")
    if length and length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces) if len(pieces) > 1 else piece


async def send_answer(
    send: Send, status: int, body: bytes, headers: Mapping[str, str], media_type: str
) -> None:
    """One whole answer."""
    await send_head(
        send, status, {"content-type": media_type, "content-length": str(len(body)), **headers}
    )
    await send({"type": "http.response.body", "body": body})


async def send_head(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """The beginning of an answer."""
    encoded = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def send_error(send: Send, error: SluiceError, headers: Mapping[str, str]) -> None:
    """An error in OpenAI's shape."""
    body = orjson.dumps(error.body())
    extra = {"connection": "close"} if isinstance(error, BodyTooLarge | Draining) else {}
    await send_answer(
        send, error.status, body, {**headers, **error.headers(), **extra}, "application/json"
    )


async def send_json(send: Send, data: Any, headers: Mapping[str, str], status: int = 200) -> None:
    """One JSON answer."""
    await send_answer(send, status, orjson.dumps(data), headers, "application/json")


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {max_bytes} bytes.")
