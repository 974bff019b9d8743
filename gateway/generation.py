"""Generations: what does a change of the configuration replace, while calls go on?

All that is made of the configuration, and of what administrators keep in the database, is made
anew and whole; new calls then take it, and calls under way end on what they began with. What
cannot be made leaves everything as it is. Connections, keys, health, limits, caches and running
flights belong to the process and outlive generations.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, replace

from gateway.config import Config, ConfigError
from gateway.directory import Directory
from gateway.exchange import Call, Handler, Reply
from gateway.keys import VirtualKey
from gateway.managed import Managed
from gateway.providers import ProviderState

log = logging.getLogger("sluice")

NEEDS_RESTART = frozenset(
    {"server", "database", "keys", "encryption", "redis", "calls", "cache", "health", "telemetry"}
)
"""Tables of the configuration whose changes wait for the next start."""

_LONGEST_SLEEP_S = 3600.0

Admit = Callable[[str | None], Awaitable[VirtualKey]]
"""A presented secret to its key. Raises `InvalidKey` or `Unavailable`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What new calls meet."""

    config: Config
    managed: Managed
    providers: Sequence[ProviderState]
    directory: Directory
    path: Handler
    admit: Admit


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """The tables that a reading of the file has changed; those that wait for a restart."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


Build = Callable[[Config, Managed], Awaitable[Generation]]
"""Makes a generation. Raises `ConfigError`."""


class Generations:
    """The current generation of a process. `read` reads the configuration file and checks it."""

    def __init__(
        self,
        config: Config,
        build: Build,
        read: Callable[[], Config],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._started_with = config
        self._build = build
        self._read = read
        self._now = now
        self._as_read = self._at_start = config
        self._managed = Managed()
        self._changing = asyncio.Lock()
        self._current: Generation | None = None
        self._next_price: asyncio.Task[None] | None = None
        self._following: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Generation:
        if self._current is None:
            raise RuntimeError("not started")
        return self._current

    async def start(self, managed: Managed) -> None:
        """Make the first generation. Raises `ConfigError`.

        What administrators or the file change meanwhile is followed after it.
        """
        async with self._changing:
            config = self._started_with
            try:
                self._as_read = self._at_start = await asyncio.to_thread(self._read)
                config = self._live(self._as_read)
            except ConfigError:  # changed since the start read it: the next reload will tell
                log.warning("the configuration file has changed and has faults")
            self._managed = managed
            await self._replace(config)

    def handle(self, call: Call) -> Awaitable[Reply]:
        """The request path, as a new call meets it."""
        return self.current.path(call)

    async def admit(self, secret: str | None) -> VirtualKey:
        """See `Admit`."""
        return await self.current.admit(secret)

    async def reload(self) -> Reloaded:
        """Read the file anew and follow it. Raises `ConfigError`: then nothing has changed."""
        async with self._changing:
            found = await asyncio.to_thread(self._read)
            changed = tuple(
                field.name
                for field in fields(Config)
                if getattr(found, field.name) != getattr(self._as_read, field.name)
            )
            waiting = tuple(
                field.name
                for field in fields(Config)
                if field.name in NEEDS_RESTART
                and getattr(found, field.name) != getattr(self._at_start, field.name)
            )
            # Even an unchanged file may name secrets in other files that have changed.
            await self._replace(self._live(found))
            self._as_read = found
        reloaded = Reloaded(changed=changed, needs_restart=waiting)
        _tell(reloaded)
        return reloaded

    async def is_behind(self) -> bool:
        """Is there something else in the file than what was read last? Raises `ConfigError`."""
        return await asyncio.to_thread(self._read) != self._as_read

    async def manage(self, managed: Managed) -> None:
        """Follow what administrators have changed.

        What cannot be used is logged; the next reload, or change, tries it again.
        """
        async with self._changing:
            self._managed = managed
            await self._follow_managed()

    def follow(self, managed: Managed) -> None:
        """As `manage`, soon."""
        task = asyncio.create_task(self.manage(managed))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def aclose(self) -> None:
        """Follow nothing any more, and wait for no price."""
        tasks = [*self._following, *filter(None, [self._next_price])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _live(self, found: Config) -> Config:
        """The file's configuration, but for what only a restart can change."""
        kept = {f.name: getattr(self._started_with, f.name) for f in fields(Config)}
        return replace(found, **{name: kept[name] for name in NEEDS_RESTART & kept.keys()})

    async def _follow_managed(self) -> None:
        try:
            await self._replace(self.current.config)
        except ConfigError as error:
            log.error("stored credentials or prices cannot be used: %s", error)

    async def _replace(self, config: Config) -> None:
        managed = self._managed
        # Asked before: what comes into force while the generation is made is not in it.
        due_ms = managed.next_change_ms(self._now_ms())
        self._current = await self._build(config, managed)
        if self._next_price is not None and self._next_price is not asyncio.current_task():
            self._next_price.cancel()
        self._next_price = None
        if due_ms is not None:
            self._next_price = asyncio.create_task(self._at_next_price(due_ms))

    async def _at_next_price(self, due_ms: int) -> None:
        while self._now_ms() < due_ms:  # noqa: ASYNC110 - the clock may be set
            await asyncio.sleep(min(due_ms / 1000 - self._now(), _LONGEST_SLEEP_S))
        async with self._changing:
            await self._follow_managed()

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _tell(reloaded: Reloaded) -> None:
    changed = ", ".join(f"[{name}]" for name in reloaded.changed) or "nothing"
    log.info("configuration read: %s changed", changed)
    if reloaded.needs_restart:
        waiting = ", ".join(f"[{name}]" for name in reloaded.needs_restart)
        log.warning("changes of %s wait for a restart", waiting)
