"""The database of a command: where is it, and may it be made?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from gateway.config import Config
from gateway.store.administration import Administration
from gateway.store.database import administration, prepare
from gateway.store.faults import StoreFault
from gateway.store.migrate import require_head
from gateway.store.sqlite import connect, database_path


@asynccontextmanager
async def administering(config: Config, config_path: Path) -> AsyncIterator[Administration]:
    """Keys may be made before the first start, so the database is made where it is missing."""
    prepared = prepare(config.database, config.keys, config_path.parent, encryption=None)
    async with administration(prepared) as admin:
        yield admin


def ledger_path(config: Config, config_path: Path) -> Path:
    """Of a database that is there and of this version. Raises `StoreFault`."""
    path = database_path(config.database.url, config_path.parent)
    if not path.exists():
        raise StoreFault(f"there is no database at {path} yet; sluice serve makes it")
    with closing(connect(path)) as db:
        require_head(db)
    return path
