"""The database of a command: where is it, and may it be made?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.config import Config
from gateway.store.administration import Administration
from gateway.store.cacheadmin import CacheAdmin
from gateway.store.database import administration, prepare
from gateway.store.faults import StoreFault
from gateway.store.keytable import select_keys
from gateway.store.migrate import require_head
from gateway.store.reports import Reports
from gateway.store.sqlite import connect, database_path, reading


@asynccontextmanager
async def administering(config: Config, config_path: Path) -> AsyncIterator[Administration]:
    """Keys may be made before the first start, so the database is made where it is missing."""
    prepared = prepare(config.database, config.keys, config_path.parent, encryption=None)
    async with administration(prepared) as admin:
        yield admin


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a report is made of. `keys` are the names of keys by id."""

    reports: Reports
    cache: CacheAdmin
    keys: Mapping[str, str]

    def key_id(self, wanted: str | None) -> str | None:
        """The id behind an id or a name. Raises `click.UsageError` where a name is no answer."""
        if wanted is None or wanted in self.keys:
            return wanted
        ids = [key for key, name in self.keys.items() if name == wanted]
        if len(ids) == 1:
            return ids[0]
        fault = (
            f"is the name of several keys: {', '.join(ids)}" if ids else "is no key's id or name"
        )
        raise click.UsageError(f"{wanted!r} {fault}.")


@asynccontextmanager
async def reporting(config: Config, config_path: Path) -> AsyncIterator[Ledger]:
    """A report changes nothing: it neither makes a database nor needs the pepper."""
    path = database_path(config.database.url, config_path.parent)
    if not path.exists():
        raise StoreFault(f"there is no database at {path} yet; sluice serve makes it")
    with closing(connect(path)) as db:
        require_head(db)
    async with reading(path) as connection:
        keys = {key.id: key.name for key in await select_keys(connection)}
        yield Ledger(Reports(connection), CacheAdmin(connection), keys)
