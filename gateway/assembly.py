"""The assembly: what does one process open, in which order, and what does it serve with it?

Three steps. The `Ground` is what lives as long as the process: store, lanes, limits, health,
metrics. The generations stand on it, and are replaced while calls run. The application is what the
outside reaches of both. All is closed in the reverse order.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gateway.app import build_app
from gateway.cache.caching import Caching, Shared, open_caching
from gateway.calllog import LATER_S, CallLog
from gateway.config import Config
from gateway.configfile import load
from gateway.directory import Directory
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.routes import admin_routes
from gateway.edge.chat import ChatCompletions
from gateway.edge.dashboard import Dashboard
from gateway.edge.explain import Explain
from gateway.edge.pages import Live, MetricsPage, Models, Ready
from gateway.edge.ports import ByPort
from gateway.edge.visits import Visits
from gateway.flight import Flights
from gateway.generation import Generations
from gateway.health import Health
from gateway.limits.demand import Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.meter import Pace
from gateway.metrics import Metrics
from gateway.parts import Parts, Sink
from gateway.reloading import following, reload_all
from gateway.store.database import Prepared, Store
from gateway.telemetry import Teller, open_telemetry
from gateway.upstream.echo import EchoLane
from gateway.upstream.lanes import Lanes
from gateway.upstream.native import NativeLane
from gateway.vitals import Vitals
from gateway.workshop import BuildPath, Workshop

if TYPE_CHECKING:
    from gateway.store.redis import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a process is started with: everything here was checked before."""

    config: Config
    config_path: Path
    prepared: Prepared
    build_path: BuildPath
    redis_url: str | None = None
    worker: bool = False
    admin_port: int | None = None


@asynccontextmanager
async def application(setting: Setting, visits: Visits) -> AsyncIterator[ASGIApp]:
    """The application with everything behind it open."""
    async with AsyncExitStack() as stack:
        ground = await _open_ground(setting, visits, stack)
        generations = Generations(
            setting.config, _workshop(ground).build, partial(_read, setting.config_path)
        )
        stack.push_async_callback(generations.aclose)
        ground.store.managed.changed = generations.follow  # also what changes during the start
        await generations.start(ground.store.managed.managed)
        await stack.enter_async_context(
            following(setting.config_path, generations, watch=not setting.worker)
        )
        yield _app(ground, generations)


# -------------------------------------------------------------- as long as the process


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What generations stand on."""

    setting: Setting
    visits: Visits
    store: Store
    native: NativeLane
    lanes: Lanes
    health: Health
    metrics: Metrics
    telemetry: Teller | None
    log: CallLog | None
    redis: Redis | None
    limiter: Limiter
    caching: Caching | None


async def _open_ground(setting: Setting, visits: Visits, stack: AsyncExitStack) -> Ground:
    config = setting.config
    native = NativeLane()
    lanes = Lanes({"native": native, "echo": EchoLane()})
    stack.push_async_callback(lanes.aclose)
    store = await Store.open(setting.prepared, config.database, config.keys)
    stack.push_async_callback(store.close)
    metrics = Metrics((), lambda: len(visits))
    await stack.enter_async_context(Vitals(metrics))
    _show(metrics, store, config)
    telemetry = await stack.enter_async_context(
        open_telemetry(config.telemetry, os.environ, metrics.name_of)
    )
    redis = await _redis(setting, metrics, stack)
    shared = Shared(data_keys=store.data_keys, epochs=store.epochs, tally=store.cache_stats.tally)
    home = setting.prepared.path.parent
    return Ground(
        setting=setting,
        visits=visits,
        store=store,
        native=native,
        lanes=lanes,
        health=Health(config.health),
        metrics=metrics,
        telemetry=telemetry,
        log=_log(config, stack),
        redis=redis,
        limiter=_limiter(redis, metrics, stack),
        caching=await open_caching(config, (), home, redis, stack, shared),
    )


async def _redis(setting: Setting, metrics: Metrics, stack: AsyncExitStack) -> Redis | None:
    """The one client for all, where a Redis is configured. Only then its library is imported."""
    if setting.redis_url is None:
        return None
    from gateway.store.redis import Redis

    settings = setting.config.redis
    redis = Redis(setting.redis_url, prefix=settings.prefix, timeout_s=settings.timeout_s)
    stack.push_async_callback(redis.aclose)
    await redis.start()
    metrics.redis.set_function(lambda: redis.available)
    return redis


def _limiter(redis: Redis | None, metrics: Metrics, stack: AsyncExitStack) -> Limiter:
    memory = MemoryLimiter()
    metrics.slots.set_function(memory.slots)
    if redis is None:
        return memory
    from gateway.store.redis import Script

    limiter = RedisLimiter(redis, Script, memory, process=secrets.token_hex(8))
    stack.push_async_callback(limiter.aclose)
    metrics.slots.set_function(lambda: limiter.slots() + memory.slots())
    return limiter


def _log(config: Config, stack: AsyncExitStack) -> CallLog | None:
    if config.server.log != "json":
        return None
    log = CallLog(sys.stderr.buffer, partial(asyncio.get_running_loop().call_later, LATER_S))
    stack.callback(log.flush)
    return log


def _show(metrics: Metrics, store: Store, config: Config) -> None:
    """What is looked at rather than counted."""
    shown = metrics.instruments
    shown.ledger_queue.set_function(lambda: store.queued)
    shown.ledger_lag.set_function(lambda: store.lag_s)
    shown.dropped.set_function(lambda: store.dropped)
    shown.unsettled.set_function(lambda: store.accounts.unsettled)
    shown.abandoned.set_function(lambda: store.accounts.abandoned)
    if config.server.metrics_by_team:
        metrics.count_teams()
    if home := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from gateway.metricfiles import MetricFiles

        metrics.shared = MetricFiles(home)


# ------------------------------------------------------------------------- generations


def _workshop(ground: Ground) -> Workshop:
    setting, store, telemetry = ground.setting, ground.store, ground.telemetry
    sinks, pace, repeated = _sinks(ground), Pace(), Flights()

    def make_parts(config: Config, directory: Directory, caching: Caching | None) -> Parts:
        return Parts(
            config=config,
            directory=directory,
            caching=caching,
            keyring=store.keyring,
            accounts=store.accounts,
            pace=pace,
            health=ground.health,
            budgets=store.budgets,
            sinks=sinks,
            answers=store.answers,
            limiter=ground.limiter,
            repeated=repeated,
        )

    return Workshop(
        base_dir=setting.config_path.parent,
        make_parts=make_parts,
        build_path=setting.build_path if telemetry is None else _observed(telemetry, setting),
        native=ground.native,
        lanes=ground.lanes,
        metrics=ground.metrics,
        health=ground.health,
        caching=ground.caching,
    )


def _sinks(ground: Ground) -> list[Sink]:
    store = ground.store
    sinks: list[Sink] = [lambda _, record: store.accounts.record(record), ground.metrics.call_ended]
    if ground.log is not None:
        sinks.append(ground.log.call_ended)
    if ground.telemetry is not None:
        sinks.append(ground.telemetry.call_ended)
    return sinks


def _observed(telemetry: Teller, setting: Setting) -> BuildPath:
    return lambda parts, lanes: setting.build_path(parts, telemetry.observed(lanes))


def _read(path: Path) -> Config:
    return load(path, os.environ)


# --------------------------------------------------------------------- the application


def _app(ground: Ground, generations: Generations) -> ASGIApp:
    config, visits, store = ground.setting.config, ground.visits, ground.store
    refused = ground.metrics.refused
    operators = _operators(ground, generations)
    build = partial(
        build_app,
        chat=ChatCompletions(generations.handle, config, visits, refused),
        explain=Explain(generations.handle, config, visits, ground.health, refused),
        models=Models(generations),
        live=Live(),
        ready=Ready(visits, {"database": store.healthy, "lanes": ground.lanes.ready}),
        metrics=MetricsPage(ground.metrics, config.server, store.admin_key.check),
    )
    whole, port = build(admin=operators), ground.setting.admin_port
    # Calls are served on the port of administration as well: the dashboard makes some.
    return whole if port is None else ByPort(port, whole, build(admin=()))


def _operators(ground: Ground, generations: Generations) -> list[BaseRoute]:
    """The admin API, and the dashboard over it."""
    setting, store, redis = ground.setting, ground.store, ground.redis
    parts = AdminParts(
        desk=store.desk,
        admin_key=store.admin_key,
        find=store.keyring.find,
        generation=lambda: generations.current,
        reload=partial(reload_all, generations, worker=setting.worker),
        health=ground.health,
        visits=ground.visits,
        process=store.leases.owner,
        healthy=store.healthy,
        caching=ground.caching,
        redis=None if redis is None else lambda: redis.available,
    )
    routes: list[BaseRoute] = [*admin_routes(parts)]
    if setting.config.server.dashboard:
        routes += Dashboard().routes()
    return routes
