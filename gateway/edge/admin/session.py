"""`/session` and `/me`: how does a person sign in, and as whom is one here?"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from starlette.responses import Response
from starlette.types import Scope

from gateway import __version__
from gateway.edge.admin.guard import require_own_origin
from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.sessions import COOKIE, LIFE_MS
from gateway.edge.admin.shapes import JSON, Fields, Text, Whole
from gateway.edge.asgi import header

_SIGN_IN = Fields({"admin_key": Text(most=512)})
_SIGNED_IN = Fields({"expires_at_ms": Whole()})
_SIGNED_OUT = Fields({"signed_out": Text(choices=("yes",))})
_ME = Fields(
    {
        "via": Text(choices=("key", "session")),
        "version": Text(),
        "default_zone": Text(),
        "currency": Text(choices=("USD",)),
    }
)


class Session:
    """Signing in and out. A session ends by itself, or with the admin key."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="POST",
            path="/session",
            summary="Sign in with the admin key: sets the cookie of a session of 12 hours.",
            act=self.sign_in,
            body=_SIGN_IN,
            answer=_SIGNED_IN,
            open=True,
        )
        yield Operation(
            method="DELETE",
            path="/session",
            summary="Sign out: removes the cookie.",
            act=self.sign_out,
            answer=_SIGNED_OUT,
        )
        yield Operation(
            method="GET",
            path="/me",
            summary="How this request was admitted, and what the gateway is.",
            act=self.me,
            answer=_ME,
        )

    async def sign_in(self, ask: Ask) -> Response:
        require_own_origin(ask.scope, needed=False)
        await self._parts.guard.check(ask.body["admin_key"], ask.scope)
        token, expires_at_ms = await self._parts.sessions.issue()
        answer = Response(
            orjson.dumps({"expires_at_ms": expires_at_ms}), media_type="application/json"
        )
        _set_cookie(answer, ask.scope, token, LIFE_MS // 1000)
        return answer

    async def sign_out(self, ask: Ask) -> Response:
        answer = Response(orjson.dumps({"signed_out": "yes"}), media_type="application/json")
        _set_cookie(answer, ask.scope, "", 0)
        return answer

    async def me(self, ask: Ask) -> JSON:
        return {
            "via": "session" if ask.via == "dashboard" else "key",
            "version": __version__,
            "default_zone": "UTC",
            "currency": "USD",
        }


def _set_cookie(answer: Response, scope: Scope, value: str, max_age_s: int) -> None:
    """A proxy that ends TLS says so in `x-forwarded-proto`."""
    over_tls = "https" in (scope["scheme"], header(scope, b"x-forwarded-proto"))
    answer.set_cookie(
        COOKIE,
        value,
        max_age=max_age_s,
        path="/",
        secure=over_tls,
        httponly=True,
        samesite="strict",
    )
