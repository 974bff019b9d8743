"""Managed: what do administrators keep in the database beside the configuration file?

Credentials of providers and dated prices. Both change while the gateway runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.targets import Credential

DEFAULT = "default"
"""A managed credential of this name is the provider's own, in place of the file's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedCredential:
    """A credential of a provider. `rotate`: it serves in turn with the provider's own."""

    provider: str
    credential: Credential
    rotate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPrice:
    """What a model (`provider/model`) costs from a moment on, by litellm's names in dollars."""

    model: str
    effective_from_ms: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """All of it, as of one reading."""

    credentials: Sequence[ManagedCredential] = ()
    prices: Sequence[DatedPrice] = field(default=())

    def of_provider(self, name: str) -> list[ManagedCredential]:
        """A provider's credentials."""
        return [held for held in self.credentials if held.provider == name]

    def prices_at(self, now_ms: int) -> dict[str, Mapping[str, float]]:
        """The figures in force at a moment, by model."""
        begun = (price for price in self.prices if price.effective_from_ms <= now_ms)
        return {p.model: p.figures for p in sorted(begun, key=lambda p: p.effective_from_ms)}

    def next_change_ms(self, now_ms: int) -> int | None:
        """When the next of the prices comes into force; None if none is ahead."""
        return min(self._ahead(now_ms), default=None)

    def _ahead(self, now_ms: int) -> Iterator[int]:
        return (p.effective_from_ms for p in self.prices if p.effective_from_ms > now_ms)
