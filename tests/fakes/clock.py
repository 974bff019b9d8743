"""Clocks that only move when something sleeps on them."""

from __future__ import annotations

import asyncio
import heapq


class Clock:
    """`clock()` is the time, `await clock.sleep(s)` lets it pass, `sleeps` lists what was slept."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


class Time:
    """Virtual time: whoever sleeps is woken in order, once nobody is left who can run."""

    def __init__(self, steps: int = 4) -> None:
        self.now = 0.0
        self._steps = steps
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self._order += 1
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, self._order, event))
        await event.wait()

    async def run(self) -> None:
        """Until nobody sleeps any more."""
        await self._settle()
        while self._sleepers:
            self.now, _, event = heapq.heappop(self._sleepers)
            event.set()
            await self._settle()

    async def _settle(self) -> None:
        """Let whoever was woken run until it sleeps again: it takes a few steps of the loop."""
        for _ in range(self._steps):
            await asyncio.sleep(0)
