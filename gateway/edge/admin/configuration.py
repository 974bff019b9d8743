"""`/config`: which configuration is in force, and is the file to be read anew?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gateway.config import ConfigError
from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import JSON, Anything, Fields, Many, Text
from gateway.errors import InvalidRequest
from gateway.generation import NEEDS_RESTART
from gateway.references import is_reference

_NAMES = Many(Text())
# Whatever stands here may be a secret, unless it only says where one is.
_MAY_BE_SECRET = frozenset(
    [
        *("api_key", "credentials", "secrets", "options", "headers"),
        *("pepper", "key", "old_keys", "url", "otlp_endpoint"),
        "settings",  # of a third-party policy
    ]
)
_WITHHELD = "…"


class Configuration:
    """The effective configuration, without anything that is or may be a secret."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/config",
            summary="The configuration in force; values that may be secrets are left out.",
            act=self.show,
            answer=Fields({"config": Anything(), "restart_tables": _NAMES}),
        )
        yield Operation(
            method="POST",
            path="/config/reload",
            summary="Read config.toml anew, in all processes of this machine's gateway.",
            act=self.reload,
            answer=Fields({"changed": _NAMES, "needs_restart": _NAMES}),
        )

    async def show(self, ask: Ask) -> JSON:
        config = self._parts.generation().config
        known = {field.name for field in fields(config)}
        return {"config": _public(config), "restart_tables": sorted(NEEDS_RESTART & known)}

    async def reload(self, ask: Ask) -> JSON:
        try:
            reloaded = await self._parts.reload()
        except ConfigError as error:
            raise InvalidRequest(
                f"The file cannot be used, and nothing has changed:\n{error}",
                code="invalid_value",
            ) from None
        async with self._parts.desk.changing(ask.via) as admin, admin.change() as audit:
            await audit.note("config.reload", "config", None, {"changed": list(reloaded.changed)})
        return {"changed": list(reloaded.changed), "needs_restart": list(reloaded.needs_restart)}


def _public(value: object, name: str = "") -> Any:
    if is_dataclass(value):
        return {f.name: _public(getattr(value, f.name), f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        inside = name if name in _MAY_BE_SECRET else ""
        return {str(key): _public(item, inside) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item, name) for item in value]
    if isinstance(value, str) and name in _MAY_BE_SECRET and not is_reference(value):
        return _WITHHELD
    return value
