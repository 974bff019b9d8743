"""The parts of the admin API in a process that serves no calls: what can it offer?"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

from gateway.cache.disk import DiskStore
from gateway.cache.epochs import Scope
from gateway.cache.redis import RedisStore
from gateway.catalog import Catalog
from gateway.config import Config
from gateway.directory import Directory
from gateway.edge.admin.parts import AdminParts
from gateway.edge.visits import Visits
from gateway.errors import Unavailable
from gateway.exchange import Call, Reply
from gateway.generation import Generation, Reloaded
from gateway.health import Health
from gateway.keys import VirtualKey
from gateway.managed import Managed, ManagedCredential
from gateway.providers import provider_states
from gateway.sharing import redis_address
from gateway.store.desk import Desk
from gateway.store.sqlite import database_path
from gateway.targets import Credential, Provider

SPREAD_S = 1.0
"""Until every running process knows of a change; see `gateway.store.keyring.POLL_S`."""
_PATIENCE_S = 5.0


def local_parts(desk: Desk, generation: Generation) -> AdminParts:
    """The database can be seen and changed; calls, health and caches are other processes'."""
    return AdminParts(
        desk=desk,
        admin_key=_NoSessions(),
        find=_nobody,
        generation=lambda: generation,
        reload=_not_here,
        health=Health(generation.config.health),
        visits=Visits(),
        process=lambda: "",
        healthy=_healthy,
        spread_s=SPREAD_S,
    )


async def managed(desk: Desk) -> Managed:
    """Stored credentials by name only: nothing is opened to look at a list."""
    async with desk.looking() as look:
        stored = await look.credentials.list()
        prices = tuple(one.price for one in await look.prices.list())
    held = [
        ManagedCredential(
            provider=one.provider, credential=Credential(name=one.name), rotate=one.rotate
        )
        for one in stored
    ]
    return Managed(credentials=tuple(held), prices=prices)


def local_generation(config: Config, base_dir: Path, kept: Managed) -> Generation:
    """As the configuration has it now, but without a path that calls could take."""
    return Generation(
        config=config,
        managed=kept,
        providers=provider_states(config, os.environ, base_dir, kept),
        directory=Directory((), {}, Catalog({}, {}), _no_models),
        path=_no_call,
        admit=_nobody_admitted,
    )


async def drop(config: Config, base_dir: Path, scope: Scope) -> dict[str, int | None]:
    """Delete entries where they lie; how many. None: Redis was not to be had."""
    deleted: dict[str, int | None] = {}
    path = database_path(config.database.url, base_dir).parent / "cache.db"
    if path.exists():
        disk = await DiskStore.open(path, config.cache.max_disk_bytes, time.time)
        deleted["disk"] = await disk.drop(scope)
        await disk.close()
    address = redis_address(config, os.environ, base_dir) if config.cache.store == "redis" else None
    if address is not None:
        from gateway.store.redis import Redis

        redis = Redis(address, prefix=config.redis.prefix, timeout_s=_PATIENCE_S)
        deleted["redis"] = await RedisStore(redis, time.time).drop(scope)
        await redis.aclose()
    return deleted


# ------------------------------------------------------------------ what is not to be had here


class _NoSessions:
    """Whoever may write the database needs no admin key."""

    async def check(self, secret: str) -> bool:
        return False

    async def session_secret(self) -> bytes | None:
        return None


async def _nobody(secret: str) -> VirtualKey | None:
    return None


async def _nobody_admitted(secret: str | None) -> VirtualKey:
    _unserved()


async def _no_call(call: Call) -> Reply:
    _unserved()


async def _no_models(provider: Provider, credential: Credential) -> list[str]:
    return []


async def _not_here() -> Reloaded:
    _unserved()


async def _healthy() -> bool:
    return True


def _unserved() -> NoReturn:
    raise Unavailable("This process serves no calls: ask a running gateway, with --url.")
