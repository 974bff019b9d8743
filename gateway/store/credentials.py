"""Providers' credentials in the database: how are they kept, so that a copy of it opens nothing?

A secret is sealed with the master key and bound to its place, so that one cannot be moved to
another provider, whose address may be anybody's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import aiosqlite
import orjson

from gateway.sealing import Sealer, Unsealable
from gateway.store.audit import Audit, Via
from gateway.store.keytable import change
from gateway.store.leases import unix_ms
from gateway.targets import Credential

_SHOWN_OF = 12  # of a shorter secret its end would tell too much
_COLUMNS = "id, provider, name, hint, rotate, created_at_ms, updated_at_ms"


class BadCredential(ValueError):
    """A secret that no provider can be sent."""


class CredentialTaken(Exception):
    """The provider has a stored credential of this name already."""


class UnknownCredential(Exception):
    """No stored credential has this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is shown to a provider: one secret, or several by litellm's parameter names."""

    secret: str = field(repr=False, default="")
    settings: Mapping[str, str] = field(repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        values = [self.secret, *self.settings.values()]
        if not any(values):
            raise BadCredential("A credential needs a secret, or settings.")
        if not all(value.isascii() and value.isprintable() for value in values):
            raise BadCredential("A secret holds a character that no HTTP header can carry.")

    @property
    def hint(self) -> str:
        """Enough to tell it from others."""
        return f"…{self.secret[-4:]}" if len(self.secret) >= _SHOWN_OF else "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredential:
    """A credential as an administrator sees it: its secret is shown to nobody again."""

    id: str
    provider: str
    name: str
    hint: str
    rotate: bool
    created_at_ms: int
    updated_at_ms: int


class CredentialAdmin:
    """Changes to the stored credentials. One user at a time per connection."""

    def __init__(
        self,
        db: aiosqlite.Connection,
        sealer: Sealer | None,
        clock: Callable[[], int] = unix_ms,
        via: Via = "cli",
    ) -> None:
        self._db = db
        self._sealer = sealer
        self._clock = clock
        self._via = via

    async def list(self) -> list[StoredCredential]:
        """All of them, by provider and name."""
        query = f"SELECT {_COLUMNS} FROM provider_credentials ORDER BY provider, name"  # noqa: S608
        async with self._db.execute(query) as rows:
            return [_stored(*row) async for row in rows]

    async def show(self, credential_id: str) -> StoredCredential:
        """Raises `UnknownCredential`."""
        for found in await self.list():
            if found.id == credential_id:
                return found
        raise UnknownCredential(f"no stored credential has the id {credential_id!r}")

    async def add(
        self, provider: str, name: str, secret: Secret, *, rotate: bool = False
    ) -> StoredCredential:
        """Keep a credential. Raises `CredentialTaken`."""
        now_ms, credential_id = self._clock(), f"cred_{secrets.token_hex(6)}"
        values = (credential_id, provider, name, self._sealed(provider, name, secret))
        async with self._change() as audit:
            written = await self._db.execute(
                "INSERT INTO provider_credentials (id, provider, name, sealed, hint, rotate, "
                "created_at_ms, updated_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (provider, name) DO NOTHING",
                (*values, secret.hint, int(rotate), now_ms, now_ms),
            )
            if written.rowcount == 0:
                raise CredentialTaken(f"{provider} has a stored credential {name!r}: rotate it")
            made = await self.show(credential_id)
            await audit.note("credential.create", credential_id, None, _described(made))
        return made

    async def rotate(self, credential_id: str, secret: Secret) -> StoredCredential:
        """Replace its secret. Raises `UnknownCredential`."""
        async with self._change() as audit:
            was = await self.show(credential_id)
            await self._db.execute(
                "UPDATE provider_credentials SET sealed = ?, hint = ?, updated_at_ms = ? "
                "WHERE id = ?",
                (
                    self._sealed(was.provider, was.name, secret),
                    secret.hint,
                    self._clock(),
                    credential_id,
                ),
            )
            made = await self.show(credential_id)
            await audit.note("credential.rotate", credential_id, _described(was), _described(made))
        return made

    async def remove(self, credential_id: str) -> StoredCredential:
        """Forget it. Raises `UnknownCredential`."""
        async with self._change() as audit:
            was = await self.show(credential_id)
            await self._db.execute(
                "DELETE FROM provider_credentials WHERE id = ?", (credential_id,)
            )
            await audit.note("credential.delete", credential_id, _described(was), None)
        return was

    def _change(self) -> AbstractAsyncContextManager[Audit]:
        return change(self._db, self._via, self._clock())

    def _sealed(self, provider: str, name: str, secret: Secret) -> str:
        plain = orjson.dumps({"secret": secret.secret, "settings": dict(secret.settings)})
        if self._sealer is None:
            raise RuntimeError("a credential is kept only where there is an encryption key")
        return self._sealer.seal(plain, context_of(provider, name)).hex()


def context_of(provider: str, name: str) -> bytes:
    """What a credential is bound to."""
    return orjson.dumps(["credential", provider, name])


def opened(sealer: Sealer, provider: str, name: str, sealed: str) -> Credential:
    """Raises `Unsealable`."""
    try:
        box = bytes.fromhex(sealed)
    except ValueError:
        raise Unsealable("this is nothing that was sealed") from None
    plain: dict[str, Any] = orjson.loads(sealer.open(box, context_of(provider, name)))
    return Credential(name, plain["secret"], plain["settings"])


def _stored(
    credential_id: str,
    provider: str,
    name: str,
    hint: str,
    rotate: int,
    created_at_ms: int,
    updated_at_ms: int,
) -> StoredCredential:
    return StoredCredential(
        id=credential_id,
        provider=provider,
        name=name,
        hint=hint,
        rotate=bool(rotate),
        created_at_ms=created_at_ms,
        updated_at_ms=updated_at_ms,
    )


def _described(known: StoredCredential) -> dict[str, Any]:
    """As the audit shows it. The hint tells a rotation from none."""
    return {
        "provider": known.provider,
        "name": known.name,
        "hint": known.hint,
        "rotate": known.rotate,
        "updated_at_ms": known.updated_at_ms,
    }
