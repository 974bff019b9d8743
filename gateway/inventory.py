"""The inventory of a server: which models does its `/v1/models` name right now?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from gateway.errors import UpstreamFailure
from gateway.targets import Credential, Provider, ProviderEntry

ListModels = Callable[[Provider, Credential], Awaitable[list[str]]]
"""Asks a provider for its models. May raise `UpstreamFailure`, `OSError` or `TimeoutError`."""

FRESH_S = 60.0
FAILED_S = 5.0
TIMEOUT_S = 2.0


class Inventory:
    """One server's models, asked for when they are needed, and kept for a minute.

    While a server does not answer, what it said last stands: a call for one of its models then
    fails as a connection does, and is not taken for a model that nobody has.
    """

    def __init__(
        self,
        entry: ProviderEntry,
        list_models: ListModels,
        now: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.expires_at = float("-inf")
        self._entry = entry
        self._list_models = list_models
        self._now = now
        self._timeout_s = timeout_s
        self._names: dict[str, None] = {}
        self._refresh: asyncio.Task[None] | None = None

    async def names(self) -> dict[str, None]:
        """The models' names in the server's order. Callers that wait together ask once."""
        if self._now() >= self.expires_at:
            if self._refresh is None:
                self._refresh = asyncio.create_task(self._ask())
            # Shielded: the others still wait when one caller has gone.
            await asyncio.shield(self._refresh)
        return self._names

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                names = await self._list_models(self._entry.provider, self._entry.default)
            self._names = dict.fromkeys(names)
            self.expires_at = self._now() + FRESH_S
        except (UpstreamFailure, OSError):  # a TimeoutError is an OSError
            self.expires_at = self._now() + FAILED_S
        finally:
            self._refresh = None
