"""Visits: which requests are being served, and may this process take another?

Draining (SIGTERM): `begin` makes the process not ready at once and refuses new calls; `finish`
lets the running ones go on for a while, then cancels them with the reason `draining`, and
returns when all have settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from starlette.types import Receive

from gateway.errors import Draining


class Visit:
    """One request being served by the current task.

    `reason` says why it was cancelled. `hang_up` cuts the connection, whatever is unsent.
    """

    def __init__(self, visits: Visits, hang_up: Callable[[], None]) -> None:
        self.reason: str | None = None
        self.hang_up = hang_up
        self._visits = visits
        self._task = asyncio.current_task()

    def cancel(self, reason: str) -> None:
        """End this visit: the first reason given counts."""
        if self.reason is None and self._task:
            self.reason = reason
            self._task.cancel(reason)

    def survive(self) -> None:
        """Take the cancellation back, so that the task can say goodbye."""
        if self._task:
            self._task.uncancel()

    def __enter__(self) -> Visit:
        self._visits.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._visits.leave(self)


class Watch:
    """Cancels a visit when its client is gone. Entered once the request's body is read.

    It begins a moment late: most answers are there by then, and a task for each of them would
    be a twentieth of a call's cost.
    """

    _LATE_S = 0.05

    def __init__(self, receive: Receive, visit: Visit) -> None:
        self._receive = receive
        self._visit = visit
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._LATE_S, self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._visit.cancel("client_gone")


class Visits:
    """All requests being served by this process."""

    def __init__(self) -> None:
        self.draining = False
        self._present: set[Visit] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._present)

    def enter(self, visit: Visit) -> None:
        """Raises `Draining` when this process is about to exit."""
        if self.draining:
            raise Draining("This gateway process is shutting down. Try again at once.")
        self._present.add(visit)
        self._empty.clear()

    def leave(self, visit: Visit) -> None:
        self._present.discard(visit)
        if not self._present:
            self._empty.set()

    def begin(self) -> None:
        """Take no new calls from now on."""
        self.draining = True

    async def finish(self, patience_s: float) -> None:
        """Wait for the present visits, at most `patience_s`; then cancel them and wait again."""
        self.begin()
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            for visit in tuple(self._present):
                visit.cancel(Draining.kind)
            await self._empty.wait()
