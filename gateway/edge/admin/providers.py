"""`/providers` and `/credentials`: who serves, with whose keys, and how are those replaced?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gateway.config import Config
from gateway.config import Provider as Settings
from gateway.edge.admin.operation import Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import (
    JSON,
    Fields,
    Flag,
    Many,
    Maybe,
    Named,
    Shape,
    Text,
    Whole,
    invalid,
)
from gateway.managed import DEFAULT
from gateway.providers import ProviderState
from gateway.store.credentials import BadCredential, Secret, StoredCredential

_CREDENTIAL: Mapping[str, Shape] = {
    "id": Text(),
    "provider": Text(),
    "name": Text(),
    "hint": Text(free=True),
    "rotate": Flag(),
    "created_at_ms": Whole(),
    "updated_at_ms": Whole(),
}
CREDENTIAL = Fields(_CREDENTIAL, name="Credential")
PROVIDER = Fields(
    {
        "name": Text(),
        "kind": Text(),
        "lane": Maybe(Text()),
        "base_url": Maybe(Text(free=True)),
        "state": Text(choices=("on", "off")),
        "missing": Many(Text(free=True)),
        "models": Many(Text(free=True)),
        "credentials": Many(
            Fields(
                {
                    "name": Text(),
                    "source": Text(choices=("config", "database")),
                    "id": Maybe(Text()),
                    "hint": Maybe(Text(free=True)),
                    "rotate": Flag(),
                    "in_use": Flag(),
                    "created_at_ms": Maybe(Whole()),
                    "updated_at_ms": Maybe(Whole()),
                }
            )
        ),
    },
    name="Provider",
)
_SECRET: Mapping[str, Shape] = {
    "secret": Text(most=8192),
    "settings": Named(Text(most=8192), most=20),
}
_REMOVED = Fields({"id": Text(), "deleted": Flag()})


class Providers:
    """What is configured, and the credentials that are kept in the database."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/providers",
            summary="List the providers, on or off, with their credentials; no secret is shown.",
            act=self.providers,
            answer=page_of(PROVIDER),
        )
        yield Operation(
            method="GET",
            path="/credentials",
            summary="List the credentials that are kept in the database.",
            act=self.list,
            answer=page_of(CREDENTIAL),
        )
        yield Operation(
            method="POST",
            path="/credentials",
            summary="Keep a credential, sealed. `default` goes before the file's own.",
            act=self.add,
            body=Fields({"provider": Text(), "name": Text()}, {**_SECRET, "rotate": Flag()}),
            answer=CREDENTIAL,
            status=201,
        )
        yield Operation(
            method="POST",
            path="/credentials/{id}/rotate",
            summary="Replace the secret of a credential.",
            act=self.rotate,
            body=Fields({}, _SECRET),
            answer=CREDENTIAL,
        )
        yield Operation(
            method="DELETE",
            path="/credentials/{id}",
            summary="Forget a credential.",
            act=self.remove,
            answer=_REMOVED,
        )

    async def providers(self, ask: Ask) -> JSON:
        generation = self._parts.generation()
        async with self._parts.desk.looking() as look:
            stored = await look.credentials.list()
        return page([_provider(s, generation.config, stored) for s in generation.providers])

    async def list(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            return page([asdict(one) for one in await look.credentials.list()])

    async def add(self, ask: Ask) -> JSON:
        provider, name = ask.body["provider"], ask.body["name"]
        known = self._parts.generation().config.providers
        if provider not in known:
            raise invalid("provider", f"must be one of {', '.join(known) or 'none'}")
        secret, rotate = _secret(ask.body), ask.body.get("rotate", False)
        if rotate and name == DEFAULT:
            raise invalid("rotate", "is not for the default credential, which always serves")
        async with self._parts.desk.changing(ask.via) as admin:
            return asdict(await admin.credentials.add(provider, name, secret, rotate=rotate))

    async def rotate(self, ask: Ask) -> JSON:
        async with self._parts.desk.changing(ask.via) as admin:
            return asdict(await admin.credentials.rotate(ask.path["id"], _secret(ask.body)))

    async def remove(self, ask: Ask) -> JSON:
        async with self._parts.desk.changing(ask.via) as admin:
            await admin.credentials.remove(ask.path["id"])
        return {"id": ask.path["id"], "deleted": True}


def _secret(body: Mapping[str, Any]) -> Secret:
    try:
        return Secret(secret=body.get("secret", ""), settings=body.get("settings", {}))
    except BadCredential as error:
        raise invalid("secret", f"cannot be used: {error}".rstrip(".")) from None


def _provider(state: ProviderState, config: Config, stored: Sequence[StoredCredential]) -> JSON:
    settings, entry = config.providers[state.name], state.entry
    own = [one for one in stored if one.provider == state.name]
    kept = {one.name for one in own}
    on = entry is not None
    return {
        "name": state.name,
        "kind": settings.kind,
        "lane": entry.provider.lane if entry else None,
        "base_url": entry.provider.base_url if entry else None,
        "state": "on" if entry else "off",
        "missing": list(state.missing),
        "models": list(settings.models),
        "credentials": [
            *(_of_file(n, settings, in_use=on and n not in kept) for n in _names(settings)),
            *(_of_database(one, in_use=on) for one in own),
        ],
    }


def _names(settings: Settings) -> list[str]:
    own = [DEFAULT] if settings.api_key or settings.secrets else []
    return [*own, *settings.credentials]


def _of_file(name: str, settings: Settings, *, in_use: bool) -> JSON:
    nothing = {"id": None, "hint": None, "created_at_ms": None, "updated_at_ms": None}
    rotate = name in settings.rotate
    return {"name": name, "source": "config", "rotate": rotate, "in_use": in_use, **nothing}


def _of_database(one: StoredCredential, *, in_use: bool) -> JSON:
    known = {name: value for name, value in asdict(one).items() if name != "provider"}
    return {**known, "source": "database", "in_use": in_use}
