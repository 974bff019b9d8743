"""Rights: what may be said of a key or a team, and is it known here?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import (
    Fields,
    Flag,
    Maybe,
    Named,
    Number,
    Shape,
    Text,
    Whole,
    invalid,
)
from gateway.edge.controls import MAX_TAG_LENGTH
from gateway.generation import Generation
from gateway.keysettings import SETTINGS, KeySetting
from gateway.sharing import RATES
from gateway.tables import suggestion

TAG = Text(most=MAX_TAG_LENGTH)
BINDINGS = Named(Text())
"""Credential names by provider."""


def _value(setting: KeySetting) -> Shape:
    if setting.kind is bool:
        return Flag()
    if setting.kind is int:
        return Whole()
    return Number() if setting.kind is float else Text(choices=setting.choices)


SETTING_VALUES = Fields(
    {}, {name: _value(setting) for name, setting in SETTINGS.items()}, name="Settings"
)
SETTING_CHANGES = Fields(
    {}, {name: Maybe(_value(setting)) for name, setting in SETTINGS.items()}, name="SettingChanges"
)
"""The same to change: null removes one."""


def require_usable(given: Mapping[str, Any], parts: AdminParts) -> None:
    """Can these `credentials` and `settings` be followed here? Raises `InvalidRequest`."""
    _require_known(given.get("credentials", {}), parts.generation())
    _require_shared(given.get("settings", {}), parts)


def _require_shared(settings: Mapping[str, Any], parts: AdminParts) -> None:
    """As the start does: several workers need a place where they count together."""
    if parts.redis is None and parts.generation().config.server.workers > 1:
        for rate in RATES:
            if settings.get(rate):
                raise invalid(f"settings.{rate}", "needs redis.url, or one worker only")


def _require_known(bindings: Mapping[str, str], generation: Generation) -> None:
    providers = generation.config.providers
    for provider, credential in bindings.items():
        param = f"credentials.{provider}"
        if provider not in providers:
            raise invalid(param, f"names no provider; {suggestion(provider, providers)}")
        managed = generation.managed.of_provider(provider)
        names = [*providers[provider].credentials, *(held.credential.name for held in managed)]
        if credential not in names:
            raise invalid(param, f"names no credential; {suggestion(credential, names)}")
