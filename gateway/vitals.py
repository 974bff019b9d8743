"""Vitals: how is this process itself doing?"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway import __version__
from gateway.metrics import Metrics

_EVERY_S = 1.0
_REMEMBERED = 30
_PAGE_BYTES = resource.getpagesize()


class Vitals:
    """Shows the process in `metrics`, and keeps what others see of it fresh.

    Where several workers share their figures, a scrape comes to one of them, and finds those of
    the others as they were at most a second ago.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._late: deque[float] = deque(maxlen=_REMEMBERED)
        self._task: asyncio.Task[None] | None = None
        shown = metrics.instruments
        shown.build.labels(__version__).set(1)
        shown.workers.set_function(lambda: 1)
        shown.cpu.set_function(time.process_time)
        shown.memory.set_function(_resident_bytes)
        shown.open_files.set_function(_open_files)
        shown.loop_lag.set_function(lambda: max(self._late, default=0.0))

    async def __aenter__(self) -> Vitals:
        self._task = asyncio.create_task(self.watch())
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def watch(self) -> None:
        """How much later than asked for does this loop get its turn?"""
        while True:
            due = self._clock() + _EVERY_S
            await self._sleep(_EVERY_S)
            self._late.append(max(0.0, self._clock() - due))
            if self._metrics.shared:
                self._metrics.refresh()


def _resident_bytes() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:  # no Linux: the most that it ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _open_files() -> float:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0
