"""Hedging: when is a call so slow that a second attempt is made beside the first?

After the time in which so many percent of a target's answers were here, another target is asked
for the same. The first answer wins, the other attempt is cancelled. Unstreamed calls only: of a
stream nobody could say which one is slow.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar

from gateway.config import Retry as Settings
from gateway.errors import SluiceError
from gateway.exchange import Call, Reply, cancel_reason
from gateway.health import Health
from gateway.nextattempt import FOLLOWED, Course
from gateway.targets import Target
from gateway.trace import JSON, AttemptEnded, AttemptSent, AttemptStarted, Fact, Trace

LOST = "hedge_lost"  # why an attempt was cancelled
LEAST_ANSWERS = 20  # before that, nobody knows what is slow
_REMEMBERED = 200
_TARGETS_KEPT = 4096  # callers name models as they like

T = TypeVar("T")
Won = Literal["first", "hedge", "neither"]
Make = Callable[[Call], Coroutine[Any, Any, Reply | None]]


@dataclass(frozen=True, slots=True)
class Hedged(Fact):
    """A second attempt was made beside the first, `target`'s, after some time. Who answered?"""

    number: int
    target: str
    after_s: float
    won: Won

    def describe(self) -> JSON:
        after_ms = int(self.after_s * 1e3)
        return {"fact": "hedged", "number": self.number, "ms": after_ms, "won": self.won}


class Hedging:
    """Remembers how long each target takes for an unstreamed answer, in this process."""

    def __init__(self, percentile: float, min_s: float, clock: Callable[[], float]) -> None:
        self._percentile = percentile
        self._min_s = min_s
        self._clock = clock
        self._latencies: dict[str, _Latencies] = {}

    def delay_s(self, call: Call, target: str) -> float | None:
        """How long to wait for an answer before another attempt is made; None: for good."""
        if call.stream or call.dry_run:
            return None
        seen = self._latencies.get(target)
        if seen is None or len(seen) < LEAST_ANSWERS:
            return None
        return max(self._min_s, seen.percentile(self._percentile))

    @contextmanager
    def timed(self, asked: Call) -> Iterator[None]:
        """Around an attempt. A first one that lost counts as well: it would have taken longer yet,
        and without such ones what is slow would seem to become faster and faster.
        """
        began = self._clock()
        try:
            yield
        except asyncio.CancelledError as error:
            if error.args == (LOST,) and asked.attempt == 1:
                self._of(asked.chosen.name).add(self._clock() - began)
            raise
        self._of(asked.chosen.name).add(self._clock() - began)

    def _of(self, target: str) -> _Latencies:
        seen = self._latencies.get(target)
        if seen is None:
            if len(self._latencies) >= _TARGETS_KEPT:
                del self._latencies[next(iter(self._latencies))]
            seen = self._latencies[target] = _Latencies()
        return seen


def hedging(settings: Settings, health: Health) -> Hedging | None:
    """By the clock of `health`. None where no percentile is configured."""
    percentile = settings.hedge_percentile
    return None if percentile is None else Hedging(percentile, settings.hedge_min_s, health.clock)


class Race:
    """A first attempt, and after a while a second one beside it.

    Each has a trace of its own while they run. Afterwards the call's has both, first the one that
    lost: so what stands last is true of the answer.
    """

    def __init__(
        self, call: Call, after_s: float, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._call = call
        self._after_s = after_s
        self._sleep = sleep
        self._first, self._second = call.trace.branch(), call.trace.branch()
        self._won: Won = "neither"

    def lost(self, target: Target, failure: SluiceError) -> Course:
        """Where the call stands when the first attempt, at `target`, has failed as well."""
        begun = [*self._first.all(AttemptStarted), *self._second.all(AttemptStarted)]
        asked = self._call.with_(target=target, attempt=max(fact.number for fact in begun))
        return Course(asked, failure, [fact.target for fact in begun])

    async def run(self, first: Make, second: Make) -> Reply:
        """The first answer, or else the failure of the first attempt.

        `second` returns None where no further attempt may be made. No refusal of it, and no
        failure, is any trouble of the call's.
        """
        try:
            async with _Tasks() as tasks:
                running = tasks.start(first(self._call.with_(trace=self._first)))
                pause = tasks.start(self._pause())
                await asyncio.wait((running, pause), return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    return self._answer(running, "first")
                hedge = tasks.start(second(self._call.with_(trace=self._second)))
                await asyncio.wait((running, hedge), return_when=asyncio.FIRST_COMPLETED)
                if not running.done() or isinstance(running.exception(), FOLLOWED):
                    await asyncio.wait((hedge,))
                    if _answered(hedge):
                        return self._answer(hedge, "hedge")
                    await asyncio.wait((running,))
                return self._answer(running, "first")
        finally:
            self._join()

    async def _pause(self) -> None:
        await self._sleep(self._after_s)

    def _answer(self, task: asyncio.Task[Reply | None], who: Won) -> Reply:
        reply = task.result()
        if reply is None:
            raise RuntimeError("an attempt without an answer")
        self._won = who
        return reply

    def _join(self) -> None:
        trace, order = self._call.trace, [self._second, self._first]
        if self._won == "hedge":
            order.reverse()
        hedge, slow = self._second.last(AttemptStarted), self._first.last(AttemptStarted)
        if hedge is None or slow is None or not self._was_made(self._second):
            trace.join(self._first)
            return
        for branch in order:
            trace.join(branch)
        trace.add(Hedged(hedge.number, slow.target.name, self._after_s, self._won))

    def _was_made(self, branch: Trace) -> bool:
        """One that was refused for its budget, or had to stop before it was sent, was not."""
        return self._won == "hedge" or any(map(branch.last, (AttemptSent, AttemptEnded)))


class _Tasks:
    """Tasks that do not outlive an `async with`: what has not ended is cancelled, and waited for.

    They hear the reason if it is a cancellation that leaves it, and `LOST` otherwise.
    """

    def __init__(self) -> None:
        self._started: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._started.append(task)
        return task

    async def __aenter__(self) -> _Tasks:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        reason = cancel_reason(error) if isinstance(error, asyncio.CancelledError) else LOST
        for task in self._started:
            task.cancel(reason)
        await asyncio.wait(self._started)
        for task in self._started:
            if not task.cancelled():
                task.exception()  # it was looked at


class _Latencies:
    """The last ones, and the same in order of length."""

    def __init__(self) -> None:
        self._last: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._last)

    def add(self, seconds: float) -> None:
        if len(self._last) >= _REMEMBERED:
            del self._sorted[bisect_left(self._sorted, self._last.popleft())]
        self._last.append(seconds)
        insort(self._sorted, seconds)

    def percentile(self, percent: float) -> float:
        """The shortest that so many of them do not exceed."""
        return self._sorted[max(0, math.ceil(len(self._sorted) * percent / 100) - 1)]


def _answered(task: asyncio.Task[Reply | None]) -> bool:
    """Raises what is no failure of an attempt, but a fault."""
    error = task.exception()
    if error is not None and not isinstance(error, SluiceError):
        raise error
    return error is None and task.result() is not None
