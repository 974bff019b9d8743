"""The directory: which targets does a model's name mean, and what may a key use?

A name is, in this order: an alias; `provider/model`, listed anywhere or not; a bare name, which
means the first provider in configuration order that knows it. A provider knows the models listed
for it, and either those that its server names (`list_models`) or those of its kind in the table.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from gateway.catalog import Catalog
from gateway.config import Alias, Sticky, Strategy
from gateway.errors import InvalidConfiguration, ModelNotFound, ProviderNotFound
from gateway.inventory import Inventory, ListModels
from gateway.keys import VirtualKey
from gateway.listing import ModelEntry
from gateway.targets import Credential, ProviderEntry, Target

_RESOLUTIONS_KEPT = 4096
_NEVER = float("inf")
_LONGEST_GUESSED = 100
_LONGEST = 256  # a caller's names are kept; they must not fill the memory
_DEFAULT_CREDENTIALS: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a name means. `grants` are the names by which a key may be allowed to use it.

    An alias is granted by its own name only, and grants its targets in turn. Anything else is
    granted by the canonical name, or by the bare name where that means the same target.
    `fallbacks` are other aliases, which a key has to be allowed by themselves.
    """

    alias: str | None
    grants: tuple[str, ...]
    targets: tuple[Target, ...]
    strategy: Strategy = "order"
    sticky: Sticky = "no"
    fallbacks: tuple[str, ...] = ()
    fallback_on: frozenset[str] = frozenset()

    def allowed_by(self, key: VirtualKey) -> bool:
        return any(key.allows(name) for name in self.grants)


@dataclass(frozen=True, slots=True)
class _Found:
    """A resolution as yet without credentials, and until when it may be repeated."""

    resolution: Resolution
    expires_at: float


class Directory:
    """Names to targets. `off` names the providers that are configured but not switched on."""

    def __init__(
        self,
        providers: Sequence[ProviderEntry],
        aliases: Mapping[str, Alias],
        catalog: Catalog,
        list_models: ListModels,
        *,
        off: Collection[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = {entry.provider.name: entry for entry in providers}
        self._aliases = aliases
        self._catalog = catalog
        self._off = frozenset(off)
        self._now = now
        self._inventories = {
            name: Inventory(entry, list_models, now)
            for name, entry in self._providers.items()
            if entry.list_models
        }
        self._lines: dict[str, ModelEntry] = {}
        self._resolved: dict[tuple[str, frozenset[tuple[str, str]]], _Found] = {}

    async def resolve(self, name: str, key: VirtualKey) -> Resolution:
        """The targets of `name`, with the credentials that `key` is bound to.

        Does not ask whether the key may use them: that is `Resolution.allowed_by`.
        Raises `ModelNotFound`, `ProviderNotFound`, and `InvalidConfiguration` where the key is
        bound to a credential that the provider does not have.
        """
        bound = frozenset(key.credentials.items()) if key.credentials else _DEFAULT_CREDENTIALS
        found = self._resolved.get((name, bound))
        if found is None or found.expires_at <= self._now():
            if len(name) > _LONGEST:
                raise ModelNotFound(f"No model's name is longer than {_LONGEST} characters.")
            found = await self._find(name, key)
            found = replace(found, resolution=self._bind(found.resolution, key))
            if len(self._resolved) >= _RESOLUTIONS_KEPT:
                del self._resolved[next(iter(self._resolved))]
            self._resolved[name, bound] = found
        return await self._granted(found.resolution, key)

    async def get(self, name: str, key: VirtualKey) -> ModelEntry:
        """One model that this key may use. Raises `ModelNotFound` for any other."""
        resolution = await self.resolve(name, key)
        if not resolution.allowed_by(key):
            raise ModelNotFound(f"The model {_shown(name)} does not exist or is not for this key.")
        return ModelEntry.of(name, resolution.targets[0])

    async def list(self, key: VirtualKey) -> tuple[ModelEntry, ...]:
        """All that this key may use and that the gateway can name: aliases, then models."""
        found = [
            ModelEntry.of(name, targets[0])
            for name in self._aliases
            if key.allows(name) and (targets := self._alias_targets(name))
        ]
        async for entry, model in self._allowed(key):
            name = f"{entry.provider.name}/{model}"
            if name not in self._lines:
                self._lines[name] = ModelEntry.of(name, self._target(entry, model))
                # A line takes 0.1 ms to build, and there may be thousands: let others run.
                await asyncio.sleep(0)
            found.append(self._lines[name])
        return tuple(found)

    # ------------------------------------------------------------------ from names to targets

    async def _find(self, name: str, key: VirtualKey) -> _Found:
        if name in self._aliases:
            targets = self._alias_targets(name)
            if not targets:
                raise ProviderNotFound(f"No provider of the model {_shown(name)} is switched on.")
            return _Found(self._resolution(name, targets), _NEVER)
        first, slash, rest = name.partition("/")
        if slash and rest and first in self._providers:
            return _Found(self._single(self._providers[first], rest), _NEVER)
        owner, expires_at = await self._owner(name)
        if owner is None:
            raise await self._unknown(name, key)
        resolution = self._single(owner, name)
        return _Found(replace(resolution, grants=(*resolution.grants, name)), expires_at)

    def _resolution(self, name: str, targets: tuple[Target, ...]) -> Resolution:
        alias = self._aliases[name]
        return Resolution(
            alias=name,
            grants=(name,),
            targets=targets,
            strategy=alias.strategy,
            sticky=alias.sticky,
            fallbacks=alias.fallbacks,
            fallback_on=frozenset(alias.fallback_on),
        )

    def _single(self, entry: ProviderEntry, model: str) -> Resolution:
        target = self._target(entry, model)
        return Resolution(alias=None, grants=(target.name,), targets=(target,))

    async def _granted(self, resolution: Resolution, key: VirtualKey) -> Resolution:
        """Adds the bare name, for a key that needs it: then servers may have to be asked."""
        if resolution.alias or len(resolution.grants) > 1 or resolution.allowed_by(key):
            return resolution
        target = resolution.targets[0]
        if not key.allows(target.model.name):
            return resolution
        owner, _ = await self._owner(target.model.name)
        if owner is None or owner.provider is not target.provider:
            return resolution
        return replace(resolution, grants=(target.name, target.model.name))

    async def _owner(self, model: str) -> tuple[ProviderEntry | None, float]:
        """The first provider that knows a bare name, and until when that is sure."""
        expires_at = _NEVER
        for entry in self._providers.values():
            if model in entry.models:
                return entry, expires_at
            inventory = self._inventories.get(entry.provider.name)
            if inventory is None:
                if self._catalog.knows(entry.provider.kind, model, responses=_responses(entry)):
                    return entry, expires_at
                continue
            names = await inventory.names()
            expires_at = min(expires_at, inventory.expires_at)
            if model in names:
                return entry, expires_at
        return None, expires_at

    async def _allowed(self, key: VirtualKey) -> AsyncIterator[tuple[ProviderEntry, str]]:
        """The models that can be named, in configuration order, as far as `key` may use them."""
        seen: set[str] = set()
        for entry in self._providers.values():
            for model in await self._models(entry):
                bare_means_this = model not in seen
                seen.add(model)
                if key.allows(f"{entry.provider.name}/{model}") or (
                    bare_means_this and key.allows(model)
                ):
                    yield entry, model

    async def _models(self, entry: ProviderEntry) -> Mapping[str, None]:
        inventory = self._inventories.get(entry.provider.name)
        if inventory is not None:
            return dict.fromkeys(entry.models) | await inventory.names()
        names = self._catalog.names(entry.provider.kind, responses=_responses(entry))
        return dict.fromkeys((*entry.models, *names))

    def _alias_targets(self, name: str) -> tuple[Target, ...]:
        """An alias's targets in order; those of providers that are off are left out."""
        alias = self._aliases[name]
        parts = ((member, *member.target.partition("/")) for member in alias.members)
        return tuple(
            replace(
                self._target(self._providers[provider], model),
                params=alias.params,
                system=alias.system,
                weight=member.weight,
                priority=member.priority,
            )
            for member, provider, _, model in parts
            if provider in self._providers
        )

    def _target(self, entry: ProviderEntry, model: str) -> Target:
        known = self._catalog.model(entry.provider, model)
        spares = tuple(entry.named[name] for name in entry.rotated)
        return Target(provider=entry.provider, model=known, credential=entry.default, spares=spares)

    # ------------------------------------------------------------------------- credentials

    def _bind(self, resolution: Resolution, key: VirtualKey) -> Resolution:
        if not key.credentials:
            return resolution
        targets = tuple(
            replace(target, credential=self._credential(target.provider.name, key), spares=())
            if target.provider.name in key.credentials
            else target
            for target in resolution.targets
        )
        return replace(resolution, targets=targets)

    def _credential(self, provider: str, key: VirtualKey) -> Credential:
        entry, name = self._providers[provider], key.credentials.get(provider)
        if name is None or name == entry.default.name:
            return entry.default
        if name not in entry.named:
            raise InvalidConfiguration(
                f"This key is bound to the credential {_shown(name)} of the provider "
                f"{_shown(provider)}, which is not configured. Ask whoever runs the gateway."
            )
        return entry.named[name]

    # ------------------------------------------------------------------------ unknown names

    async def _unknown(self, name: str, key: VirtualKey) -> ModelNotFound:
        """The error for a name that means nothing; it names no model that `key` may not use."""
        first, slash, rest = name.partition("/")
        if slash and first in self._off:
            return ProviderNotFound(f"The provider {_shown(first)} is not switched on.")
        known = [alias for alias in self._aliases if key.allows(alias)]
        async for entry, model in self._allowed(key):
            known.append(f"{entry.provider.name}/{model}" if slash else model)
        near: list[str] = []
        if len(name) <= _LONGEST_GUESSED:  # milliseconds, where there are thousands to compare
            near = await asyncio.to_thread(get_close_matches, name, known, n=3)
        hint = f" Did you mean {' or '.join(map(_shown, dict.fromkeys(near)))}?" if near else ""
        if slash and rest and first not in self._providers:
            return ProviderNotFound(f"No provider is called {_shown(first)}.{hint}")
        return ModelNotFound(f"No provider knows the model {_shown(name)}.{hint}")


def _responses(entry: ProviderEntry) -> bool:
    """Can this provider's lane serve models of OpenAI's other API?"""
    return entry.provider.lane == "library"


def _shown(name: str) -> str:
    """A caller's text as a message may repeat it."""
    printable = "".join(c if c.isprintable() else "?" for c in name[:_LONGEST_GUESSED])
    return f"'{printable}'"
