"""The server: uvicorn, but a signal to stop lets the running calls end first."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from gateway.config import Server as Settings
from gateway.edge.visits import Visits
from gateway.protocol import StrictProtocol

log = logging.getLogger("sluice")

_LAST_WORDS_S = 5


class Server(uvicorn.Server):
    """On the first SIGTERM or SIGINT the process is not ready and takes no new calls.

    It goes on listening, so that load balancers and clients are told so, until the running
    calls have ended or `drain_s` is over; those that are left get an error and are settled.
    A second signal ends the wait: what still runs gets its error now. A worker does not listen to
    SIGINT: a terminal sends it to all processes, and the parent passes it on as SIGTERM.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, visits: Visits, *, worker: bool = False
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=StrictProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=4096,
                timeout_graceful_shutdown=_LAST_WORDS_S,
            )
        )
        self._visits = visits
        self._drain_s = settings.drain_s
        self._worker = worker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is None:
            super().handle_exit(sig, frame)
            return
        if self._worker and sig == signal.SIGINT:
            return
        patience_s = 0.0 if self._visits.draining else self._drain_s
        self._visits.begin()
        self._loop.call_soon_threadsafe(self._start_draining, patience_s)

    def _start_draining(self, patience_s: float) -> None:
        if self._drain:
            self._drain.cancel()
        elif len(self._visits):
            log.info("%d calls may end, for at most %g s", len(self._visits), patience_s)
        self._drain = asyncio.create_task(self._finish(patience_s))

    async def _finish(self, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s + _LAST_WORDS_S):
                await self._visits.finish(patience_s)
        except TimeoutError:
            log.error("%d calls could not be ended", len(self._visits))
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, to be shared by workers. Raises OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"{host} port {port}") from None
    listener.listen(4096)
    listener.set_inheritable(True)
    return listener
