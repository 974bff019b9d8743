"""One serving process: how does it run, and what ends it?"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.assembly import Setting, application
from gateway.edge.visits import Visits
from gateway.server import Server

log = logging.getLogger("sluice")

# A call makes hundreds of objects and hardly a cycle: by default the collector looks every ten.
_GC_THRESHOLDS = (10_000, 20, 20)


def run(setting: Setting, listeners: Sequence[socket.socket]) -> None:
    """Serve until a signal ends it. A second listener is that of administration."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(setting, listeners))


async def _serve(setting: Setting, listeners: Sequence[socket.socket]) -> None:
    visits = Visits()
    if len(listeners) > 1:
        setting = replace(setting, admin_port=listeners[1].getsockname()[1])
    async with application(setting, visits) as app:
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it again
        gc.set_threshold(*_GC_THRESHOLDS)
        server = Server(app, setting.config.server, visits, worker=setting.worker)
        if setting.worker:
            _end_with_parent()
        await server.serve(list(listeners))


def _end_with_parent() -> None:
    """A worker whose parent was killed drains: nobody would pass it a signal any more.

    The parent holds the other end of a worker's standard input, and writes nothing: what can be
    read there is its end, also if that came while the worker was starting.
    """
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(sys.stdin)
        log.error("the parent process is gone")
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sys.stdin, gone)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.name == "nt":
        return None
    import uvloop

    return uvloop.new_event_loop
