"""Caching: what does the Cache policy need from its process?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.cache.disk import DiskStore
from gateway.cache.entry import Entry, is_whole, payload_of
from gateway.cache.epochs import Epochs
from gateway.cache.facts import Cached, Saved, Stored, Unreadable
from gateway.cache.key import Keys
from gateway.cache.memory import MemoryStore
from gateway.cache.redis import Client, RedisStore
from gateway.cache.sealed import Behind, Seals
from gateway.cache.tally import Tally
from gateway.cache.terms import Terms
from gateway.config import Alias, Config
from gateway.config import Cache as CacheSettings
from gateway.exchange import Call
from gateway.flight import Flight, Flights
from gateway.sealing import DataKeys, preload
from gateway.targets import ProviderEntry
from gateway.trace import AttemptEnded, AttemptStarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """Keys, entries and flights of one process. Memory stands in front of disk or Redis."""

    settings: CacheSettings
    aliases: Mapping[str, Alias]
    keys: Keys
    memory: MemoryStore
    flights: Flights
    behind: Behind | None = None
    seals: Seals | None = None
    epochs: Epochs = field(default_factory=Epochs)
    tally: Tally = field(default_factory=Tally)
    now: Callable[[], float] = time.time

    def of(self, aliases: Mapping[str, Alias], providers: Iterable[ProviderEntry]) -> Caching:
        """The same stores and flights, under another configuration of models."""
        return replace(self, aliases=aliases, keys=Keys(aliases, providers, self.epochs))

    async def find(self, call: Call, key: bytes, terms: Terms) -> Entry | None:
        """The entry that these terms allow to be used. A dry run leaves no trace of its look."""
        entry = self.memory.peek(key) if call.dry_run else self.memory.get(key)
        if entry is None and self.behind is not None:
            entry = await self._behind(call, key, self.behind)
            if entry is not None and not call.dry_run:
                self.memory.put(key, entry)
            elif entry is None:  # a flight may have landed meanwhile
                entry = self.memory.peek(key)
        if entry is None or self.now() - entry.stored_at > terms.max_age_s:
            return None
        return entry

    async def _behind(self, call: Call, key: bytes, behind: Behind) -> Entry | None:
        stored = await behind.get(key)
        if stored is None:
            return None
        entry = stored if stored.kind != "sealed" else None
        if self.seals is not None:
            entry = await self.seals.opened(_owner(call), key, stored)
        if entry is None:
            self.note(call, Unreadable())
        elif entry.expires_at <= self.now():  # said under seal; what stands outside may be changed
            return None
        return entry

    def note(self, call: Call, fact: Cached | Saved | Stored | Unreadable) -> None:
        """Add a fact to the call's trace, and count it."""
        call.trace.add(fact)
        if not call.dry_run:
            self.tally.count(call, fact)

    def take_back(self, call: Call) -> None:
        """What the call did last did not help it: it counts as what it does next."""
        cached = call.trace.last(Cached)
        if cached is not None:
            self.tally.count(call, cached, -1)

    def landed(self, flight: Flight, key: bytes, ttl_s: float) -> None:
        """Keep the answer of a flight, if it may be given again."""
        call = flight.call
        if not (flight.whole and self._is_own(call) and _is_storable(flight)):
            return
        reply = flight.reply
        payload, usage_at = payload_of(reply)
        if len(payload) > self.settings.max_entry_bytes:
            return
        ended, now = call.trace.last(AttemptEnded), self.now()
        entry = Entry(
            kind="stream" if isinstance(reply, list) else "completion",
            payload=payload,
            usage=ended.usage if ended else None,
            usage_at=usage_at,
            cost_nano_usd=ended.cost_nano_usd if ended else None,
            stored_at=now,
            expires_at=now + ttl_s,
        )
        self.memory.put(key, entry)
        if self.seals is not None and self.behind is not None:
            self.seals.put(self.behind, _owner(call), key, entry)
        elif self.behind is not None:
            self.behind.put(key, entry)
        self.note(call, Stored(entry.size_bytes))

    def _is_own(self, call: Call) -> bool:
        """Is it the answer of what was asked for, and not that of a fallback to another model?"""
        started = call.trace.last(AttemptStarted)
        return started is not None and started.target.fallback is None


def _owner(call: Call) -> str:
    if call.key is None:
        raise RuntimeError("Keys comes before Cache")
    return call.key.owner


def _is_storable(flight: Flight) -> bool:
    call = flight.call
    return all(fact.storable for fact in call.trace.facts) and is_whole(
        flight.reply, call.body.get("n") or 1
    )


def saved_by(flight: Flight) -> Saved | None:
    """What a flight's listeners did not have to spend, once it has landed."""
    ended = flight.call.trace.last(AttemptEnded)
    if ended is None or not flight.succeeded:
        return None
    return Saved(ended.usage.total_tokens if ended.usage else 0, ended.cost_nano_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a process has in common with others, through the database."""

    data_keys: DataKeys
    epochs: Epochs
    tally: Tally


async def open_caching(
    config: Config,
    providers: Iterable[ProviderEntry],
    home: Path,
    redis: Client | None,
    stack: AsyncExitStack,
    shared: Shared,
) -> Caching | None:
    """What `[cache]` asks for; closed with `stack`. None: off. The disk's file lies in `home`."""
    settings = config.cache
    if settings.store == "off":
        return None
    behind: DiskStore | RedisStore | None = None
    if settings.store == "disk":
        behind = await DiskStore.open(home / "cache.db", settings.max_disk_bytes, time.time)
    elif settings.store == "redis" and redis is not None:
        behind = RedisStore(redis, time.time)
    seals = Seals(shared.data_keys) if settings.encrypt else None
    if seals is not None:
        await asyncio.to_thread(preload)
    for part in (behind, seals):  # what is being sealed is written before the rest is closed
        if part is not None:
            stack.push_async_callback(part.close)
    memory = MemoryStore(settings.max_bytes, time.time)
    shared.epochs.watch(
        lambda scopes: memory.drop_all(lambda key: any(scope.covers(key) for scope in scopes))
    )
    return Caching(
        settings=settings,
        aliases=config.models,
        keys=Keys(config.models, providers, shared.epochs),
        memory=memory,
        flights=Flights(),
        behind=behind,
        seals=seals,
        epochs=shared.epochs,
        tally=shared.tally,
    )
