"""Price files: what do models cost by a file?

Either litellm's table (`model_prices_and_context_window.json`), or TOML or JSON of one's own: a
table for each `provider/model`, with litellm's names for the figures.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway import figures
from gateway.catalog import Catalog, Entry
from gateway.cli.commands import Failure
from gateway.figures import Figures, figures_of
from gateway.pricing import OFF_PEAK

Providers = Mapping[str, Mapping[str, Any]]
"""`kind` and `base_url` by a provider's name."""

_MULTIPLIER = "multiplier"
_OPENAI_REGION = "regional_processing_uplift_multiplier_"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePrice:
    """A model's figures in dollars per token. `fault`: why they cannot be taken over."""

    model: str
    figures: Figures
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class PriceFile:
    """`table` is litellm's; `own` has figures by `provider/model`. One of them is empty."""

    table: Mapping[str, Entry]
    own: Mapping[str, Entry]

    @classmethod
    def load(cls, path: Path) -> PriceFile:
        """Raises `Failure`."""
        data = _parsed(path)
        entries = {name: entry for name, entry in data.items() if isinstance(entry, dict)}
        if len(entries) != len(data) or not entries:
            raise Failure(f"{path}: not a table of prices by model")
        if any("litellm_provider" in entry for entry in entries.values()):
            entries.pop("sample_spec", None)
            return cls(table=entries, own={})
        for name, entry in entries.items():
            _require_own(path, name, entry)
        return cls(table={}, own=entries)

    def prices(self, providers: Providers, wanted: tuple[str, ...]) -> Iterator[FilePrice]:
        """Of models of these providers that fit a pattern, if there are any."""
        found = self._own_prices(providers) if self.own else self._table_prices(providers)
        for price in found:
            if not wanted or any(fnmatchcase(price.model, pattern) for pattern in wanted):
                yield price

    def _own_prices(self, providers: Providers) -> Iterator[FilePrice]:
        for name, entry in self.own.items():
            if name.partition("/")[0] in providers:
                yield FilePrice(model=name, figures=single_figures(entry))

    def _table_prices(self, providers: Providers) -> Iterator[FilePrice]:
        catalog = Catalog(self.table, {})
        for provider, told in providers.items():
            kind = told["kind"]
            if kind == "echo":  # it is in no table
                continue
            for name in catalog.names(kind, responses=True):
                entry = catalog.entry(kind, name) or {}
                stated = table_figures(entry)
                if stated:
                    fault = _fault(entry, told["base_url"])
                    yield FilePrice(model=f"{provider}/{name}", figures=stated, fault=fault)


def table_figures(entry: Entry) -> Figures:
    """A table entry's figures; none where tokens alone do not tell its price."""
    try:
        return figures_of(entry) or {}
    except ValueError:
        return {}


def single_figures(entry: Entry) -> Figures:
    """Figures as they were said, which may be less than a whole price."""
    return {name: Decimal(str(value)) for name, value in entry.items()}


def _fault(entry: Entry, base_url: str | None) -> str | None:
    """A dated price has figures alone."""
    if entry.get(OFF_PEAK):
        return "cheaper at some hours, which a dated price cannot say"
    host = urlsplit(base_url or "").hostname or ""
    for name in entry:
        if _MULTIPLIER in name and entry[name] != 1:
            region = name.removeprefix(_OPENAI_REGION) if name.startswith(_OPENAI_REGION) else None
            if region is None or host.startswith(f"{region}."):
                return "dearer in some regions, which a dated price cannot say"
    return None


def _require_own(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    if not all(name.partition("/")):
        raise Failure(f"{path}: {name!r} is not provider/model")
    for figure, value in entry.items():
        if not figures.is_figure(figure):
            raise Failure(f"{path}: {name}: {figure!r} is no price per token")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise Failure(f"{path}: {name}: {figure} must be dollars per token, from 0 to 1")


def _parsed(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    try:
        data = tomllib.loads(raw.decode()) if path.suffix == ".toml" else json.loads(raw)
    except ValueError as error:
        raise Failure(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise Failure(f"{path}: not a table of prices by model")
    return data
