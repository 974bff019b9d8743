"""The guard: may this request see and change what is the operator's?

The admin key or a session, never a virtual key. Browsers send a session's cookie by themselves, so
with one every change has to come from a page of the gateway's own. The cookie is not sent from
other sites at all (`SameSite=Strict`), but other ports of a host are the same site.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

from starlette.types import Scope

from gateway.edge.admin.attempts import Attempts
from gateway.edge.admin.sessions import Sessions, session_token
from gateway.edge.asgi import credential, header
from gateway.errors import AdminOnly, ForeignOrigin, InvalidKey
from gateway.keys import VirtualKey
from gateway.store.audit import Via

_HARMLESS = frozenset({"GET", "HEAD"})


class AdminKey(Protocol):
    """Who knows the admin key (`gateway.store.adminkey`)."""

    async def check(self, secret: str) -> bool: ...
    async def session_secret(self) -> bytes | None: ...


Find = Callable[[str], Awaitable[VirtualKey | None]]
"""A virtual key by its secret, ended ones included."""


class Guard:
    """Admits a request, or raises."""

    def __init__(
        self,
        admin_key: AdminKey,
        find: Find,
        sessions: Sessions,
        attempts: Attempts,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._admin_key = admin_key
        self._find = find
        self._sessions = sessions
        self._attempts = attempts
        self._now = now

    async def admit(self, scope: Scope) -> Via:
        """Which way the operator came.

        Raises `InvalidKey`, `AdminOnly`, `ForeignOrigin`, `RateLimitExceeded` or `Unavailable`.
        """
        secret = credential(scope)
        if secret:
            await self.check(secret, scope)
            return "api"
        token = session_token(scope)
        if token is None:
            raise InvalidKey("Send the admin key as `Authorization: Bearer …`.")
        if not await self._sessions.valid(token):
            raise InvalidKey("The session has ended. Sign in again.")
        if scope["method"] not in _HARMLESS:
            require_own_origin(scope, needed=True)
        return "dashboard"

    async def check(self, secret: str, scope: Scope) -> None:
        """Is this the admin key? Raises where it is not."""
        address = scope["client"][0] if scope.get("client") else ""
        self._attempts.check(address)
        if await self._admin_key.check(secret):
            return
        key = await self._find(secret)
        if key is not None and _works(key, self._now()):
            raise AdminOnly("This needs the admin key. A virtual key opens models only.")
        self._attempts.failed(address)
        raise InvalidKey("This is not the admin key. `sluice admin-key reset` makes a new one.")


def require_own_origin(scope: Scope, *, needed: bool) -> None:
    """Does the request come from a page of this very host? Raises `ForeignOrigin`.

    Programs send neither header; unless one is `needed`, they pass.
    """
    origin = header(scope, b"origin")
    site = header(scope, b"sec-fetch-site")
    if origin is None and (site == "same-origin" or (site is None and not needed)):
        return
    host = header(scope, b"host")
    if origin is None or not host or urlsplit(origin).netloc.lower() != host.lower():
        raise ForeignOrigin("This was not sent by a page of the gateway's own.")


def _works(key: VirtualKey, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)
