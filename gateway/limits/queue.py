"""The queue before the limits: who may wait instead of being refused, and who goes first?

One line for each limit that refuses, in order of priority and then of arrival. Only the first in
a line asks the limits again; nobody who comes later and has the same limit goes past it. A call
waits for at most `max_wait_s`, never beyond its deadline, and not at all for what it can know to
come too late. Lines are those of one process.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gateway.limits.demand import Answer, Demand, Limiter, Verdict

# Nobody tells when a call of another process ends, nor when tokens are given back.
_ASK_AGAIN_S, _ASK_AT_LEAST_S = 0.025, 0.25


@dataclass(order=True, slots=True)
class _Place:
    """A place in a line; `first` is set while it is the first one."""

    rank: tuple[int, int]
    first: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Queue:
    """Takes from a limiter, now or a little later. Without `max_wait_s` it only passes on."""

    def __init__(self, limiter: Limiter, *, max_wait_s: float, max_waiting: int) -> None:
        self._limiter = limiter
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting
        self._lines: dict[str, list[_Place]] = {}
        self._arrived = 0
        self._waiting = 0

    def __len__(self) -> int:
        """How many are waiting."""
        return self._waiting

    async def take(self, demand: Demand, *, priority: int, deadline: float) -> Answer:
        """As `Limiter.take`. `deadline` is on the loop's clock; higher priorities go first."""
        if not self._max_wait_s:
            return await self._limiter.take(demand)
        until = min(deadline, asyncio.get_running_loop().time() + self._max_wait_s)
        name = self._line(demand)
        if name is None:
            answer = await self._limiter.take(demand)
            if answer.verdict.refused_by is None or not self._in_time(answer.verdict, until):
                return answer
            name = answer.verdict.refused_by.name
        if self._waiting >= self._max_waiting:
            return await self._out_of_turn(demand, name)
        with self._place(name, priority) as place:
            try:
                async with asyncio.timeout_at(until):
                    return await self._turn(place, demand, until)
            except TimeoutError:
                pass
        return await self._out_of_turn(demand, name)

    async def at_once(self, demand: Demand) -> Answer:
        """As `Limiter.take`, but nothing is taken that somebody is waiting for."""
        if self._line(demand) is None:
            return await self._limiter.take(demand)
        return await self._limiter.peek(demand)

    def would_wait(self, verdict: Verdict, deadline: float) -> bool:
        """Would a call with this verdict wait, as far as can be known?"""
        until = min(deadline, asyncio.get_running_loop().time() + self._max_wait_s)
        return bool(self._max_wait_s) and self._in_time(verdict, until)

    async def _turn(self, place: _Place, demand: Demand, until: float) -> Answer:
        while True:
            await place.first.wait()
            answer = await self._limiter.take(demand)
            if answer.grant is not None or not self._in_time(answer.verdict, until):
                return answer
            wait_s = answer.verdict.wait_s
            pause_s = _ASK_AGAIN_S if wait_s is None else min(wait_s, _ASK_AT_LEAST_S)
            await asyncio.sleep(pause_s)

    async def _out_of_turn(self, demand: Demand, name: str) -> Answer:
        """Take, unless somebody stands in this line: what there may be is theirs."""
        if name not in self._lines:
            return await self._limiter.take(demand)
        looked = await self._limiter.peek(demand)
        if looked.verdict.refused_by is not None:
            return looked
        limit = next(one for one in (*demand.rates, *demand.concurrent) if one.name == name)
        return Answer(replace(looked.verdict, refused_by=limit), looked.place)

    def _line(self, demand: Demand) -> str | None:
        if not self._lines:
            return None
        limits = (*demand.rates, *demand.concurrent)
        return next((limit.name for limit in limits if limit.name in self._lines), None)

    def _in_time(self, verdict: Verdict, until: float) -> bool:
        if verdict.never:
            return False
        return asyncio.get_running_loop().time() + (verdict.wait_s or 0.0) < until

    @contextmanager
    def _place(self, name: str, priority: int) -> Iterator[_Place]:
        line = self._lines.setdefault(name, [])
        self._arrived += 1
        place = _Place((-priority, self._arrived))
        insort(line, place)
        self._waiting += 1
        _tell(line)
        try:
            yield place
        finally:
            self._waiting -= 1
            line.remove(place)
            if line:
                _tell(line)
            else:
                del self._lines[name]


def _tell(line: list[_Place]) -> None:
    """The first one that it is first, and the one behind it that it no longer is."""
    line[0].first.set()
    if len(line) > 1:
        line[1].first.clear()
