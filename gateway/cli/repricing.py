"""Other prices: which price would a past attempt have had?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.catalog import Catalog, load_table
from gateway.cli.pricefiles import PriceFile
from gateway.config import Config, ModelInfo
from gateway.managed import Managed
from gateway.pricing import Price
from gateway.providers import provider_states
from gateway.store.recost import PastCharge
from gateway.targets import Provider


class OtherPrices:
    """Prices by `provider/model`; None of a model that they do not know."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, Provider]) -> None:
        self._catalog = catalog
        self._providers = providers

    @classmethod
    def of_file(cls, file: PriceFile, config: Config, base_dir: Path) -> OtherPrices:
        """Those of the file alone; what it does not price keeps its cost."""
        providers = _providers(config, base_dir)
        if file.table:
            return cls(Catalog(file.table, _likenesses(file, config)), providers)
        own = {name: _corrected(config, name, entry) for name, entry in file.own.items()}
        return _Only(Catalog(load_table(), own), providers, set(own))

    @classmethod
    def as_of(cls, managed: Managed, at_ms: int, config: Config, base_dir: Path) -> OtherPrices:
        """Those in force at a moment: the table's, `[model_info]`'s and the dated ones."""
        known: dict[str, ModelInfo] = dict(config.model_info)
        for name, price in managed.prices_at(at_ms).items():
            known[name] = replace(known.get(name, ModelInfo()), price=price)
        return cls(Catalog.load(known), _providers(config, base_dir))

    def __call__(self, charge: PastCharge) -> Price | None:
        provider = self._providers.get(charge.provider)
        return None if provider is None else self._catalog.model(provider, charge.model).price


class _Only(OtherPrices):
    """A file of one's own prices what it names."""

    def __init__(
        self, catalog: Catalog, providers: Mapping[str, Provider], named: set[str]
    ) -> None:
        super().__init__(catalog, providers)
        self._named = named

    def __call__(self, charge: PastCharge) -> Price | None:
        named = f"{charge.provider}/{charge.model}" in self._named
        return super().__call__(charge) if named else None


def _likenesses(file: PriceFile, config: Config) -> dict[str, ModelInfo]:
    """The file's prices go in place of one's own: of those is left which model is like which."""
    bare = Catalog(file.table, {})
    found: dict[str, ModelInfo] = {}
    for name, info in config.model_info.items():
        kind, _, model = (info.like or "").partition("/")
        if info.like in file.table or (model and bare.entry(kind, model) is not None):
            found[name] = ModelInfo(like=info.like)
    return found


def _corrected(config: Config, name: str, entry: Mapping[str, Any]) -> ModelInfo:
    known = config.model_info.get(name, ModelInfo())
    return replace(known, price={**known.price, **entry})


def _providers(config: Config, base_dir: Path) -> dict[str, Provider]:
    """Those that are off, too: they may have been on."""
    found: dict[str, Provider] = {}
    for state in provider_states(config, os.environ, base_dir):
        kind = config.providers[state.name].kind
        bare = Provider(name=state.name, kind=kind, lane="native")
        found[state.name] = state.entry.provider if state.entry else bare
    return found
