"""Attempts: how often may somebody guess the admin key?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.errors import RateLimitExceeded

MOST = 10
WITHIN_S = 60.0
_KEPT = 1000  # addresses; a guesser may have many


class Attempts:
    """Wrong secrets by the address that they come from. All state is in this process."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._failed: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Raises `RateLimitExceeded` while too many have failed."""
        failed = self._failed.get(address)
        now = self._clock()
        while failed and now - failed[0] >= WITHIN_S:
            failed.popleft()
        if failed and len(failed) >= self._most:
            raise RateLimitExceeded(
                "Too many wrong admin keys. Wait a minute.",
                retry_after_s=failed[0] + WITHIN_S - now,
            )

    def failed(self, address: str) -> None:
        """One more wrong secret."""
        if address not in self._failed and len(self._failed) >= _KEPT:
            del self._failed[next(iter(self._failed))]
        self._failed.setdefault(address, deque(maxlen=self._most)).append(self._clock())
