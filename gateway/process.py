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
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from gateway.app import build_app
from gateway.cache.caching import open_caching
from gateway.calllog import CallLog
from gateway.catalog import Catalog
from gateway.config import Config
from gateway.directory import Directory
from gateway.edge.chat import ChatCompletions
from gateway.edge.pages import Admit, Live, MetricsPage, Models, Ready
from gateway.edge.visits import Visits
from gateway.exchange import Handler
from gateway.health import Health
from gateway.limits.demand import Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.meter import Pace
from gateway.metrics import Metrics
from gateway.parts import Parts, Sink
from gateway.server import Server
from gateway.store.database import Prepared, Store
from gateway.targets import LaneName, ProviderEntry
from gateway.tokenizers import load_for
from gateway.upstream.echo import EchoLane
from gateway.upstream.lanes import Lane, Lanes
from gateway.upstream.native import NativeLane

if TYPE_CHECKING:
    from gateway.store.redis import Redis

log = logging.getLogger("sluice")

# A call makes hundreds of objects and hardly a cycle: by default the collector looks every ten.
_GC_THRESHOLDS = (10_000, 20, 20)

BuildPath = Callable[[Parts, Handler], tuple[Handler, Admit]]
"""Parts and the lanes to the whole request path, and to what admits a key to other routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a process is started with: everything here was checked before."""

    config: Config
    providers: Sequence[ProviderEntry]
    off: Sequence[str]
    prepared: Prepared
    build_path: BuildPath
    redis_url: str | None = None
    worker: bool = False


def run(setting: Setting, listener: socket.socket) -> None:
    """Serve on `listener` until a signal ends it."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(setting, listener))


async def _serve(setting: Setting, listener: socket.socket) -> None:
    visits = Visits()
    async with application(setting, visits) as app:
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it again
        gc.set_threshold(*_GC_THRESHOLDS)
        server = Server(app, setting.config.server, visits, worker=setting.worker)
        if setting.worker:
            _end_with_parent()
        await server.serve([listener])


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
        lanes = Lanes(await _lanes(setting.providers, native))
        stack.push_async_callback(lanes.aclose)
        store = await Store.open(setting.prepared, config.database, config.keys)
        stack.push_async_callback(store.close)
        catalog = Catalog.load(config.model_info)
        directory = Directory(
            setting.providers, config.models, catalog, native.list_models, off=setting.off
        )
        if _counts_tokens(config):
            models = sorted(_label_names(config, setting.providers))
            kinds = [entry.provider.kind for entry in setting.providers]
            await asyncio.to_thread(load_for, kinds, models)
        metrics = Metrics(_label_names(config, setting.providers), lambda: len(visits))
        health = Health(config.health)
        metrics.watch_health(_target_names(config, setting.providers), health.state)
        redis = await _redis(setting, metrics, stack)
        limiter = _limiter(redis, metrics, stack)
        home = setting.prepared.path.parent
        caching = await open_caching(config, setting.providers, home, redis, stack)
        parts = Parts(
            config=config,
            caching=caching,
            keyring=store.keyring,
            directory=directory,
            accounts=store.accounts,
            pace=Pace(),
            health=health,
            budgets=store.budgets,
            sinks=_sinks(config, store, metrics),
            answers=store.answers,
            limiter=limiter,
        )
        path, admit = setting.build_path(parts, lanes)
        yield build_app(
            chat=ChatCompletions(path, config, visits, metrics.refused),
            models=Models(admit, directory),
            live=Live(),
            ready=Ready(visits, {"database": store.healthy, "lanes": lanes.ready}),
            metrics=MetricsPage(metrics, config.server, store.admin_key.check),
        )


async def _lanes(providers: Sequence[ProviderEntry], native: NativeLane) -> dict[LaneName, Lane]:
    """The lanes that the providers need. Only the library lane imports litellm: seconds, 160 MB."""
    lanes: dict[LaneName, Lane] = {"native": native, "echo": EchoLane()}
    kinds = [entry.provider.kind for entry in providers if entry.provider.lane == "library"]
    if kinds:
        from gateway.upstream.library import LibraryLane

        library = LibraryLane(kinds)
        began = time.monotonic()
        await library.load()
        log.info("litellm loaded in %.1f s", time.monotonic() - began)
        lanes["library"] = library
    return lanes


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


def _sinks(config: Config, store: Store, metrics: Metrics) -> list[Sink]:
    sinks: list[Sink] = [lambda _, record: store.accounts.record(record), metrics.call_ended]
    if config.server.log == "json":
        sinks.append(CallLog(sys.stderr.buffer).call_ended)
    return sinks


def _counts_tokens(config: Config) -> bool:
    """Is a prompt's exact length to decide anything? Then the encodings are loaded beforehand.

    They take 70 MB and 0.4 s. Without them the first very long prompt waits for them, once.
    """
    strategies = {config.context.strategy, *(a.context for a in config.models.values())}
    return not strategies <= {"lenient", None}


def _label_names(config: Config, providers: Sequence[ProviderEntry]) -> set[str]:
    """The names that may be metric labels: aliases, their targets, and listed models."""
    return {*config.models, *_target_names(config, providers)}


def _target_names(config: Config, providers: Sequence[ProviderEntry]) -> set[str]:
    listed = {f"{entry.provider.name}/{model}" for entry in providers for model in entry.models}
    return {*listed, *(target for alias in config.models.values() for target in alias.names)}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.name == "nt":
        return None
    import uvloop

    return uvloop.new_event_loop
