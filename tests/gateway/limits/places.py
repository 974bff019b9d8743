"""Where limits are kept, for tests: in memory, or in a real Redis that several processes share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import count

from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.store.redis import Redis, Script

SECOND_US = 1_000_000


class Time:
    """Microseconds that a test moves."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000 * SECOND_US

    def __call__(self) -> int:
        return self.now_us


class Place:
    """Where limits are kept: `limiter()` is another process's view of the same place."""

    def __init__(self, kind: str, url: str, prefix: str, stack: AsyncExitStack) -> None:
        self.time = Time()
        self._kind, self._url, self._prefix, self._stack = kind, url, prefix, stack
        self._memory = MemoryLimiter(self.time)
        self._processes = count()

    def limiter(self) -> MemoryLimiter | RedisLimiter:
        if self._kind == "memory":
            return self._memory
        redis = Redis(self._url, prefix=self._prefix, timeout_s=5.0)
        self._stack.push_async_callback(redis.aclose)
        limiter = RedisLimiter(
            redis,
            Script,
            MemoryLimiter(self.time),
            process=f"p{next(self._processes)}",
            clock_us=self.time,
        )
        self._stack.push_async_callback(limiter.aclose)
        return limiter
