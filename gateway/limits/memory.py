"""Limits of one process: the state of its buckets and its running calls."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.limits import gcra
from gateway.limits.demand import Answer, Demand, judge

_SWEEP_FROM = 1024


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class MemoryLimiter:
    """Limits in dictionaries. A drained bucket says nothing, so those are dropped in time."""

    def __init__(self, clock_us: Callable[[], int] = monotonic_us) -> None:
        self._clock_us = clock_us
        self._arrivals: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._sweep_at = _SWEEP_FROM

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._arrivals) + len(self._running)

    def slots(self) -> int:
        """Concurrency slots that are held."""
        return sum(self._running.values())

    async def take(self, demand: Demand) -> Answer:
        now_us = self._clock_us()
        arrivals = [self._arrivals.get(limit.name, 0) for limit in demand.rates]
        running = [self._running.get(limit.name, 0) for limit in demand.concurrent]
        verdict, after = judge(demand, now_us, arrivals, running)
        if verdict.refused_by is not None:
            return Answer(verdict, "memory")
        for limit, arrival in zip(demand.rates, after, strict=True):
            self._arrivals[limit.name] = arrival
        for limit, n in zip(demand.concurrent, running, strict=True):
            self._running[limit.name] = n + 1
        if len(self._arrivals) >= self._sweep_at:
            self._sweep(now_us)
        return Answer(verdict, "memory", _Taken(self, demand))

    async def peek(self, demand: Demand) -> Answer:
        arrivals = [self._arrivals.get(limit.name, 0) for limit in demand.rates]
        running = [self._running.get(limit.name, 0) for limit in demand.concurrent]
        verdict, _ = judge(demand, self._clock_us(), arrivals, running)
        return Answer(verdict, "memory")

    def give_back(self, demand: Demand, used_tokens: int) -> None:
        now_us = self._clock_us()
        for limit in demand.rates:
            change = limit.cost_us(used_tokens) - limit.cost_us(demand.tokens)
            if change:
                arrival = self._arrivals.get(limit.name, 0)
                self._arrivals[limit.name] = gcra.taken(arrival, now_us, change)
        for limit in demand.concurrent:
            left = self._running[limit.name] - 1
            if left:
                self._running[limit.name] = left
            else:
                del self._running[limit.name]

    def _sweep(self, now_us: int) -> None:
        """Cheap on average: the next sweep waits until as much again has come."""
        self._arrivals = {name: at for name, at in self._arrivals.items() if at > now_us}
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._arrivals))


class _Taken:
    """What a call has taken from a `MemoryLimiter`."""

    __slots__ = ("_demand", "_limiter")

    def __init__(self, limiter: MemoryLimiter, demand: Demand) -> None:
        self._limiter = limiter
        self._demand: Demand | None = demand

    async def end(self, used_tokens: int) -> None:
        demand, self._demand = self._demand, None
        if demand is not None:
            self._limiter.give_back(demand, used_tokens)
