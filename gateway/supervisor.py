"""Several workers: the parent starts them, owns the signals, and replaces one that dies."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

log = logging.getLogger("sluice")

_TOO_YOUNG_TO_DIE_S = 5.0
_AGAIN_S = 5.0
_TICK_S = 0.2
_HANG_UP = getattr(signal, "SIGHUP", None)


class Configuration(Protocol):
    """What workers are to follow. `asked`: somebody wants it read now."""

    asked: bool

    def due(self) -> bool:
        """Are the workers to read it now? Asked often."""


class Supervisor:
    """Keeps `count` workers running. `start` starts one and returns it.

    The first SIGTERM or SIGINT is passed on, and the workers drain; the parent ends with them.
    A worker that dies is replaced. If one gives up within its first seconds, so would the next:
    at a start that ends all; where others serve already, it is tried again later, since they hold
    the last good configuration. SIGHUP reaches the workers once the configuration is sound.
    `bury` hears of each that has ended, before another takes its place.
    """

    def __init__(
        self,
        start: Callable[[], subprocess.Popen[bytes]],
        count: int,
        configuration: Configuration,
        bury: Callable[[int], None] = lambda pid: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._start = start
        self._count = count
        self._configuration = configuration
        self._bury = bury
        self._clock = clock
        self._sleep = sleep
        self._workers: dict[subprocess.Popen[bytes], float] = {}
        self._postponed: list[float] = []
        self._stopping = False

    def run(self) -> int:
        """Until all workers have ended. The exit status of the parent."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if _HANG_UP is not None:
            signal.signal(_HANG_UP, self._ask)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {_HANG_UP})  # held back since the start
        for _ in range(self._count):
            self._add()
        status = 0
        while self._workers:
            self._sleep(_TICK_S)
            status = self._replace_the_dead() or status
            self._make_up()
            if not self._stopping and self._configuration.due():
                self._pass_on()
        return status

    def _add(self) -> None:
        with _held_back():  # until the worker handles it, it would end it
            worker = self._start()
        self._workers[worker] = self._clock()
        if self._stopping:  # the signal came while it was being started
            worker.send_signal(signal.SIGTERM)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._configuration.asked = True

    def _pass_on(self) -> None:
        for worker in self._workers:
            worker.send_signal(signal.SIGHUP)

    def _replace_the_dead(self) -> int:
        status = 0
        for worker, born in self._dead():
            del self._workers[worker]
            if worker.stdin:
                worker.stdin.close()
            self._bury(worker.pid)
            if self._stopping:
                continue
            log.error("worker %d ended with status %d", worker.pid, worker.returncode)
            gave_up = worker.returncode >= 0 and self._is_young(born)
            if not gave_up:
                self._add()
            elif all(map(self._is_young, self._workers.values())):
                status = 1
                self._stop(signal.SIGTERM, None)
            else:
                log.error("its replacement is tried again in %d s", _AGAIN_S)
                self._postponed.append(self._clock() + _AGAIN_S)
        return status

    def _make_up(self) -> None:
        """Start the workers whose start was put off."""
        due = [at for at in self._postponed if at <= self._clock()]
        for at in due if not self._stopping else ():
            self._postponed.remove(at)
            self._add()

    def _is_young(self, born: float) -> bool:
        return self._clock() - born < _TOO_YOUNG_TO_DIE_S

    def _dead(self) -> Sequence[tuple[subprocess.Popen[bytes], float]]:
        return [item for item in self._workers.items() if item[0].poll() is not None]


@contextmanager
def _held_back() -> Iterator[None]:
    """A process that is started in here begins with SIGHUP blocked."""
    if _HANG_UP is None:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {_HANG_UP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
