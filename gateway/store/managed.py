"""What administrators keep, as a running process reads it: credentials opened, prices in order."""

from __future__ import annotations

import logging
from collections.abc import Callable

import aiosqlite

from gateway.managed import Managed, ManagedCredential
from gateway.sealing import Sealer, Unsealable
from gateway.store.credentials import opened
from gateway.store.prices import select_prices

_log = logging.getLogger("sluice")

_SELECT = "SELECT provider, name, sealed, rotate FROM provider_credentials ORDER BY id"


class ManagedReader:
    """Keeps a `Managed` as the database has it: reads it anew whenever the keys are.

    `changed` is told of one that differs.
    """

    def __init__(self, sealer: Sealer) -> None:
        self.managed = Managed()
        self.changed: Callable[[Managed], None] = _nobody
        self._sealer = sealer

    async def read(self, db: aiosqlite.Connection) -> None:
        """Raises `sqlite3.Error`."""
        prices = tuple(stored.price for stored in await select_prices(db))
        found = Managed(credentials=tuple(await self._credentials(db)), prices=prices)
        if found != self.managed:
            self.managed = found
            self.changed(found)

    async def _credentials(self, db: aiosqlite.Connection) -> list[ManagedCredential]:
        """Those that can be opened; the others are logged, and stay as they were or are left out.

        One that was opened before may have been sealed anew, by a process with a newer key.
        """
        before = {(held.provider, held.credential.name): held for held in self.managed.credentials}
        found: list[ManagedCredential] = []
        async with db.execute(_SELECT) as rows:
            async for provider, name, sealed, rotate in rows:
                try:
                    credential = opened(self._sealer, provider, name, sealed)
                except Unsealable as error:
                    _log.error("the stored credential %s of %s: %s", name, provider, error)
                    if (provider, name) in before:
                        found.append(before[provider, name])
                    continue
                found.append(
                    ManagedCredential(provider=provider, credential=credential, rotate=bool(rotate))
                )
        return found


def _nobody(_: Managed) -> None:
    """Nobody follows yet."""
