"""Ports: which application answers where there are two?"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class ByPort:
    """One application for the port of administration, and one for all others.

    The port is that of the listening socket: nothing that a client sends can change it.
    """

    def __init__(self, admin_port: int, admin: ASGIApp, public: ASGIApp) -> None:
        self._admin_port = admin_port
        self._admin = admin
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        here = server is not None and server[1] == self._admin_port
        await (self._admin if here else self._public)(scope, receive, send)
