"""The endpoint: how does a request to the admin API become an answer?

Admitted first, then read and checked, then done. Errors have the shape of all errors, and no
answer is kept by anybody.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.edge.admin.guard import Guard
from gateway.edge.admin.operation import Ask, Operation, parse_query
from gateway.edge.asgi import ClientLeft, new_call_id, read_body
from gateway.errors import (
    Conflict,
    InternalError,
    NotFound,
    SluiceError,
    Unavailable,
)
from gateway.store.audit import Via
from gateway.store.budgetadmin import UnknownBudget
from gateway.store.credentials import CredentialTaken, UnknownCredential
from gateway.store.keyadmin import RevokedKey, UnknownKey
from gateway.store.prices import PriceTaken, UnknownPrice
from gateway.store.teamadmin import TeamInUse, UnknownTeam
from gateway.wire.document import parse_document

log = logging.getLogger("sluice")

MAX_BODY_BYTES = 1024 * 1024

HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""On every answer: what it says is the operator's, and no page."""

# What the store raises, the narrower before the wider.
_FAULTS: Sequence[tuple[type[Exception], type[SluiceError]]] = (
    (RevokedKey, Conflict),
    (UnknownKey, NotFound),
    (UnknownBudget, NotFound),
    (UnknownTeam, NotFound),
    (TeamInUse, Conflict),
    (UnknownCredential, NotFound),
    (CredentialTaken, Conflict),
    (UnknownPrice, NotFound),
    (PriceTaken, Conflict),
)


class Endpoint:
    """All methods of one path."""

    def __init__(self, operations: Sequence[Operation], guard: Guard) -> None:
        self._operations = {operation.method: operation for operation in operations}
        self._guard = guard

    @property
    def methods(self) -> list[str]:
        return list(self._operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(scope, receive)
        except ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - the HTTP edge: the client gets an answer
            known = _known(error)
            response = Response(
                orjson.dumps(known.body()), known.status, known.headers(), "application/json"
            )
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["x-request-id"] = new_call_id()
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation = self._operations[method]
        via: Via = "api" if operation.open else await self._guard.admit(scope)
        ask = Ask(
            via=via,
            path=scope["path_params"],
            query=parse_query(scope["query_string"], operation.query),
            body=await _body(operation, scope, receive),
            scope=scope,
        )
        found = await operation.act(ask)
        if isinstance(found, Response):
            return found
        return Response(orjson.dumps(found), operation.status, None, operation.media_type)


async def _body(operation: Operation, scope: Scope, receive: Receive) -> object:
    if operation.body is None:
        return None
    raw = await read_body(scope, receive, MAX_BODY_BYTES)
    return operation.body.read(parse_document(raw or b"{}"), "")


def foreseen(error: Exception) -> SluiceError | None:
    """What the operator is told of an error that the store defines; None of any other."""
    if isinstance(error, SluiceError):
        return error
    for kind, told in _FAULTS:
        if isinstance(error, kind):
            text = str(error)
            return told(f"{text[:1].upper()}{text[1:]}.")
    return None


def _known(error: Exception) -> SluiceError:
    """What the operator is told. What nobody foresaw is logged."""
    defined = foreseen(error)
    if defined is not None:
        return defined
    if isinstance(error, sqlite3.Error):
        log.warning("administration: %s", error)
        return Unavailable("The database cannot be used at the moment. Try again.")
    log.error("a request to the admin API failed", exc_info=error)
    return InternalError("The gateway failed. Its log tells why.")
