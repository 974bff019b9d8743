"""Sessions: how does a browser stay signed in without keeping the admin key?

A session is a signed statement of when it ends, and is stored nowhere: every process of a
deployment knows it, and all sessions end when the admin key changes, since what signs them is
made of it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

from gateway.edge.asgi import header

COOKIE = "sluice_session"
LIFE_MS = 12 * 3600 * 1000


class Sessions:
    """`secret` is what sessions are signed with now; None where nobody can sign in."""

    def __init__(
        self, secret: Callable[[], Awaitable[bytes | None]], clock: Callable[[], int]
    ) -> None:
        self._secret = secret
        self._clock = clock

    async def issue(self) -> tuple[str, int]:
        """A new session's token and when it ends."""
        secret = await self._secret()
        if secret is None:
            raise RuntimeError("there is no admin key to sign a session with")
        expires_at_ms = self._clock() + LIFE_MS
        statement = f"{expires_at_ms}.{secrets.token_hex(8)}"
        return f"{statement}.{_signature(secret, statement)}", expires_at_ms

    async def valid(self, token: str) -> bool:
        """Was this token issued here, and has it not ended?"""
        statement, _, signature = token.rpartition(".")
        ends = statement.partition(".")[0]
        secret = await self._secret()
        if secret is None or not ends.isdecimal() or len(ends) > 15 or not signature.isascii():
            return False
        genuine = hmac.compare_digest(_signature(secret, statement), signature)
        return genuine and self._clock() < int(ends)


def session_token(scope: Scope) -> str | None:
    """The session that a request's cookie names."""
    text = header(scope, b"cookie")
    if text is None:
        return None
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _signature(secret: bytes, statement: str) -> str:
    return hmac.digest(secret, statement.encode("latin-1", "replace"), "sha256").hex()
