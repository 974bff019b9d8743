"""Reloading: when is the configuration file read anew?

On SIGHUP, and soon after the file has changed. One process follows it itself; of several, the
parent owns the signal and watches the file, and passes on what it has checked: its workers read
the file on the signal alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import ConfigError
from gateway.generation import Generations, Reloaded

log = logging.getLogger("sluice")

WATCH_S = 1.0
_HANG_UP = getattr(signal, "SIGHUP", None)

Stamp = tuple[int, int, int]


class Watch:
    """Tells once of each change of a file: when it has been the same twice in a row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._seen = self._stamp()

    def changed(self) -> bool:
        """To be asked every `WATCH_S`, so that a file is not read while it is being written."""
        before, self._seen = self._seen, self._stamp()
        if self._seen is None or self._seen != before or self._seen == self._known:
            return False
        self._known = self._seen
        return True

    def _stamp(self) -> Stamp | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


@asynccontextmanager
async def following(path: Path, generations: Generations, *, watch: bool) -> AsyncIterator[None]:
    """While this is entered, the process follows its file. `watch`: its changes too."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    if _HANG_UP is not None:
        loop.add_signal_handler(_HANG_UP, asked.set)
        # Held back until there is somebody to handle it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {_HANG_UP})
    watched = Watch(path) if watch else None
    if watched is not None:
        await _catch_up(asked, generations)
    task = asyncio.create_task(_follow(watched, asked, generations))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if _HANG_UP is not None:
            loop.remove_signal_handler(_HANG_UP)
            signal.signal(_HANG_UP, signal.SIG_IGN)  # draining goes on


async def reload_all(generations: Generations, *, worker: bool) -> Reloaded:
    """Read the file now; as a worker, have the others do so too. Raises `ConfigError`."""
    reloaded = await generations.reload()
    if worker and _HANG_UP is not None:
        os.kill(os.getppid(), _HANG_UP)
    return reloaded


async def _follow(watch: Watch | None, asked: asyncio.Event, generations: Generations) -> None:
    while True:
        try:
            async with asyncio.timeout(WATCH_S if watch else None):
                await asked.wait()
        except TimeoutError:
            if watch is None or not await asyncio.to_thread(watch.changed):
                continue
        asked.clear()
        try:
            await generations.reload()
        except ConfigError as error:
            refused(error)


async def _catch_up(asked: asyncio.Event, generations: Generations) -> None:
    """The file may have changed while the process started, before it was watched."""
    try:
        if await generations.is_behind():
            asked.set()
    except ConfigError as error:
        refused(error)


class Reloads:
    """A parent's part: has its workers' configuration changed, and is it sound?"""

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        self.asked = False
        self._check = check
        self._watch = Watch(path)

    def due(self) -> bool:
        """Are the workers to be told now?"""
        asked = self.asked
        if asked:  # only then: the signal may come between two lines
            self.asked = False
        if not (self._watch.changed() or asked):
            return False
        try:
            self._check()
        except ConfigError as error:
            refused(error)
            return False
        return True


def refused(error: ConfigError) -> None:
    """Say why a file is not followed."""
    log.error("the configuration stays as it is, for the file cannot be used:\n%s", error)
