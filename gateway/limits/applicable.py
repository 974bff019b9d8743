"""Which limits do a key, its team and a model have?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.config import ModelLimits, RateLimits
from gateway.keys import VirtualKey
from gateway.limits.demand import Kind, Limit, Scope

_KINDS: Mapping[str, Kind] = {"rpm": "requests", "tpm": "tokens", "concurrent": "concurrent"}


class Applicable:
    """The limits of `[limits]`, and those that keys and teams have of their own."""

    def __init__(self, settings: RateLimits) -> None:
        self._of_key = _by_kind(settings, "key_")
        self._of_team = _by_kind(settings, "team_")
        # By a key's id: keys are the same objects until one of them changes.
        self._known: dict[str, tuple[VirtualKey, Sequence[Limit]]] = {}
        self._of_models = {
            name: limits_of("model", name, of) for name, of in settings.models.items()
        }

    @property
    def models(self) -> Mapping[str, Sequence[Limit]]:
        """By an alias's or model's name."""
        return self._of_models

    def of_key(self, key: VirtualKey) -> Sequence[Limit]:
        """Those of a key and of its team."""
        known = self._known.get(key.id)
        if known is None or known[0] is not key:
            known = self._known[key.id] = (key, tuple(self._found(key)))
        return known[1]

    def _found(self, key: VirtualKey) -> Iterator[Limit]:
        yield from _limits("key", key.id, self._of_key, key.settings)
        if key.team is not None:
            yield from _limits("team", key.team, self._of_team, key.team_settings)


def limits_of(scope: Scope, subject: str, settings: ModelLimits) -> Sequence[Limit]:
    """The limits that are configured for one model or one target."""
    return tuple(_limits(scope, subject, _by_kind(settings, ""), {}))


def _by_kind(settings: Any, prefix: str) -> dict[str, int | None]:
    return {name: getattr(settings, prefix + name) for name in _KINDS}


def _limits(
    scope: Scope, subject: str, defaults: Mapping[str, int | None], own: Mapping[str, Any]
) -> Iterator[Limit]:
    """A setting of one's own stands before the default; 0 is no limit."""
    for name, kind in _KINDS.items():
        amount = own.get(name, defaults[name])
        if amount:
            yield Limit(kind, scope, subject, amount)
