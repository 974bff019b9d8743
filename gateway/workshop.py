"""The workshop: how is a generation made of a configuration and the parts of its process?"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.cache.caching import Caching
from gateway.catalog import Catalog
from gateway.config import Config, ModelInfo
from gateway.directory import Directory
from gateway.exchange import Handler
from gateway.generation import Admit, Generation
from gateway.health import Health
from gateway.managed import Managed
from gateway.metrics import Metrics
from gateway.parts import Parts
from gateway.providers import sound_providers
from gateway.sharing import redis_url
from gateway.targets import Credential, ProviderEntry
from gateway.tokenizers import load_for
from gateway.upstream.lanes import Lanes
from gateway.upstream.native import NativeLane

log = logging.getLogger("sluice")

MakeParts = Callable[[Config, Directory, Caching | None], Parts]
BuildPath = Callable[[Parts, Handler], tuple[Handler, Admit]]
"""Parts and the lanes to the whole request path, and to what admits a key to other routes.

Raises `ConfigError` where a third-party policy cannot be made.
"""


@dataclass(slots=True, kw_only=True)
class Workshop:
    """Makes generations of one process, one at a time."""

    base_dir: Path
    make_parts: MakeParts
    build_path: BuildPath
    native: NativeLane
    lanes: Lanes
    metrics: Metrics
    health: Health
    caching: Caching | None
    now: Callable[[], float] = time.time
    _catalog: Catalog | None = None
    _credentials: Mapping[tuple[str, str], Credential] = field(default_factory=dict)

    async def build(self, config: Config, managed: Managed) -> Generation:
        """Raises `ConfigError`; then the process is as it was."""
        redis_url(config, os.environ, self.base_dir)  # new limits may need one
        states = sound_providers(config, os.environ, self.base_dir, managed)
        entries = [state.entry for state in states if state.entry is not None]
        catalog = self._corrected(_with_prices(config, managed.prices_at(int(self.now() * 1000))))
        directory = Directory(
            entries,
            config.models,
            catalog,
            self.native.list_models,
            off=[state.name for state in states if state.entry is None],
        )
        caching = self.caching and self.caching.of(config.models, entries)
        parts = self.make_parts(config, directory, caching)
        path, admit = self.build_path(parts, self.lanes)
        await self._prepare(config, entries)
        self._catalog = catalog
        self._follow_credentials(_credentials(entries))
        return Generation(
            config=config,
            managed=managed,
            providers=states,
            directory=directory,
            path=path,
            admit=admit,
        )

    def _corrected(self, model_info: Mapping[str, ModelInfo]) -> Catalog:
        """The table is read once."""
        known = self._catalog
        return known.corrected(model_info) if known else Catalog.load(model_info)

    async def _prepare(self, config: Config, entries: Sequence[ProviderEntry]) -> None:
        """What the first calls would wait for otherwise."""
        kinds = [entry.provider.kind for entry in entries if entry.provider.lane == "library"]
        if kinds:
            await _load_library(self.lanes, kinds)
        targets = _target_names(config, entries)
        if _counts_tokens(config):
            every = [entry.provider.kind for entry in entries]
            await asyncio.to_thread(load_for, every, sorted({*config.models, *targets}))
        self.metrics.know({*config.models, *targets})
        self.metrics.watch_health(targets, self.health.state)

    def _follow_credentials(self, found: Mapping[tuple[str, str], Credential]) -> None:
        for place, credential in self._credentials.items():
            if found.get(place, credential) != credential:
                self.health.replaced(*place)
        self._credentials = found
        self.metrics.watch_credentials(found.keys(), self.health.credential_state)


def _with_prices(
    config: Config, prices: Mapping[str, Mapping[str, float]]
) -> Mapping[str, ModelInfo]:
    """`[model_info]`, with the dated prices in place of its own."""
    known = config.model_info
    dated = {name: replace(known.get(name, ModelInfo()), price=f) for name, f in prices.items()}
    return {**known, **dated}


async def _load_library(lanes: Lanes, kinds: Sequence[str]) -> None:
    """Only the library lane imports litellm: seconds, and 160 MB."""
    if lanes.have("library"):
        return
    from gateway.upstream.library import LibraryLane

    library = LibraryLane(kinds)
    began = time.monotonic()
    await library.load()
    log.info("litellm loaded in %.1f s", time.monotonic() - began)
    lanes.add("library", library)


def _counts_tokens(config: Config) -> bool:
    """Is a prompt's exact length to decide anything? Then the encodings are loaded beforehand.

    They take 70 MB and 0.4 s. Without them the first very long prompt waits for them, once.
    """
    strategies = {config.context.strategy, *(a.context for a in config.models.values())}
    return not strategies <= {"lenient", None}


def _target_names(config: Config, entries: Sequence[ProviderEntry]) -> set[str]:
    listed = {f"{entry.provider.name}/{model}" for entry in entries for model in entry.models}
    return {*listed, *(target for alias in config.models.values() for target in alias.names)}


def _credentials(entries: Sequence[ProviderEntry]) -> Mapping[tuple[str, str], Credential]:
    """By the names of their providers and their own."""
    return {
        (entry.provider.name, credential.name): credential
        for entry in entries
        for credential in (entry.default, *entry.named.values())
    }
