"""A clock that only moves when something sleeps on it."""

from __future__ import annotations


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
