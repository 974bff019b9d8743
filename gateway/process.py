"""One serving process: what is opened, in which order, and how is it closed?"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from gateway.app import build_admin_app, build_app
from gateway.cache.caching import Caching, Shared, open_caching
from gateway.calllog import CallLog
from gateway.config import Config
from gateway.configfile import load
from gateway.directory import Directory
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.routes import admin_routes
from gateway.edge.chat import ChatCompletions
from gateway.edge.explain import Explain
from gateway.edge.pages import Live, MetricsPage, Models, Ready
from gateway.edge.ports import ByPort
from gateway.edge.visits import Visits
from gateway.generation import Generations
from gateway.health import Health
from gateway.limits.demand import Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.meter import Pace
from gateway.metrics import Metrics
from gateway.parts import Parts, Sink
from gateway.reloading import following, reload_all
from gateway.server import Server
from gateway.store.database import Prepared, Store
from gateway.telemetry import Teller, open_telemetry
from gateway.upstream.echo import EchoLane
from gateway.upstream.lanes import Lanes
from gateway.upstream.native import NativeLane
from gateway.vitals import Vitals
from gateway.workshop import BuildPath, Workshop

if TYPE_CHECKING:
    from gateway.store.redis import Redis

log = logging.getLogger("sluice")

# A call makes hundreds of objects and hardly a cycle: by default the collector looks every ten.
_GC_THRESHOLDS = (10_000, 20, 20)


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


def run(setting: Setting, listeners: Sequence[socket.socket]) -> None:
    """Serve until a signal ends it. A second listener is that of administration."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(setting, listeners))


async def _serve(setting: Setting, listeners: Sequence[socket.socket]) -> None:
    visits = Visits()
    if len(listeners) > 1:
        setting = replace(setting, admin_port=listeners[1].getsockname()[1])
    async with application(setting, visits) as app:
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it again
        gc.set_threshold(*_GC_THRESHOLDS)
        server = Server(app, setting.config.server, visits, worker=setting.worker)
        if setting.worker:
            _end_with_parent()
        await server.serve(list(listeners))


def _end_with_parent() -> None:
    """A worker whose parent was killed drains: nobody would pass it a signal any more.

    The parent holds the other end of a worker's standard input, and writes nothing: what can be
    read there is its end, also if that came while the worker was starting.
    """
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(sys.stdin)
        log.error("the parent process is gone")
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sys.stdin, gone)


@asynccontextmanager
async def application(setting: Setting, visits: Visits) -> AsyncIterator[ASGIApp]:
    """The application with everything behind it open. Closed in the reverse order."""
    config = setting.config
    async with AsyncExitStack() as stack:
        native = NativeLane()
        lanes = Lanes({"native": native, "echo": EchoLane()})
        stack.push_async_callback(lanes.aclose)
        store = await Store.open(setting.prepared, config.database, config.keys)
        stack.push_async_callback(store.close)
        metrics = Metrics((), lambda: len(visits))
        health = Health(config.health)
        await stack.enter_async_context(Vitals(metrics))
        _show(metrics, store, config)
        telemetry = await stack.enter_async_context(
            open_telemetry(config.telemetry, os.environ, metrics.name_of)
        )
        redis = await _redis(setting, metrics, stack)
        limiter = _limiter(redis, metrics, stack)
        home = setting.prepared.path.parent
        sinks = _sinks(config, store, metrics)
        if telemetry is not None:
            sinks.append(telemetry.call_ended)
        pace = Pace()
        shared = Shared(
            data_keys=store.data_keys, epochs=store.epochs, tally=store.cache_stats.tally
        )

        def make_parts(config: Config, directory: Directory, caching: Caching | None) -> Parts:
            return Parts(
                config=config,
                directory=directory,
                caching=caching,
                keyring=store.keyring,
                accounts=store.accounts,
                pace=pace,
                health=health,
                budgets=store.budgets,
                sinks=sinks,
                answers=store.answers,
                limiter=limiter,
            )

        workshop = Workshop(
            base_dir=setting.config_path.parent,
            make_parts=make_parts,
            build_path=setting.build_path if telemetry is None else _observed(telemetry, setting),
            native=native,
            lanes=lanes,
            metrics=metrics,
            health=health,
            caching=await open_caching(config, (), home, redis, stack, shared),
        )
        generations = Generations(config, workshop.build, partial(_read, setting.config_path))
        stack.push_async_callback(generations.aclose)
        await generations.start(store.managed.managed)
        store.managed.changed = generations.follow
        await stack.enter_async_context(
            following(setting.config_path, generations, watch=not setting.worker)
        )
        operators = admin_routes(
            AdminParts(
                desk=store.desk,
                admin_key=store.admin_key,
                find=store.keyring.find,
                generation=lambda: generations.current,
                reload=partial(reload_all, generations, worker=setting.worker),
                health=health,
                visits=visits,
                process=store.leases.owner,
                healthy=store.healthy,
                caching=workshop.caching,
                redis=None if redis is None else lambda: redis.available,
            )
        )
        public = build_app(
            chat=ChatCompletions(generations.handle, config, visits, metrics.refused),
            explain=Explain(generations.handle, config, visits, health, metrics.refused),
            models=Models(generations),
            live=Live(),
            ready=Ready(visits, {"database": store.healthy, "lanes": lanes.ready}),
            metrics=MetricsPage(metrics, config.server, store.admin_key.check),
            admin=operators if setting.admin_port is None else (),
        )
        if setting.admin_port is None:
            yield public
        else:
            yield ByPort(setting.admin_port, build_admin_app(operators), public)


def _read(path: Path) -> Config:
    return load(path, os.environ)


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


def _observed(telemetry: Teller, setting: Setting) -> BuildPath:
    return lambda parts, lanes: setting.build_path(parts, telemetry.observed(lanes))


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


def _sinks(config: Config, store: Store, metrics: Metrics) -> list[Sink]:
    sinks: list[Sink] = [lambda _, record: store.accounts.record(record), metrics.call_ended]
    if config.server.log == "json":
        sinks.append(CallLog(sys.stderr.buffer).call_ended)
    return sinks


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.name == "nt":
        return None
    import uvloop

    return uvloop.new_event_loop
