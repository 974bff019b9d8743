"""Virtual keys: what a key is, how it is made, and what it may use."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

KEY_PREFIX = "sk-sluice-"
ADMIN_KEY_PREFIX = "sk-sluice-admin-"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualKey:
    """A key that the gateway issued. The secret itself is stored nowhere.

    `id` is public and stands in the ledger. `models` are patterns (`*`, `gpt-4o*`, `openai/*`)
    over aliases and canonical `provider/model` names. `expires_at` and `revoked_at` are unix
    seconds. `credentials` maps a provider to the name of the credential this key is bound to:
    the key's own bindings, over its team's. `settings` are by name as in `gateway.keysettings`.
    """

    id: str
    name: str
    team: str | None = None
    models: tuple[str, ...] = ("*",)
    expires_at: float | None = None
    revoked_at: float | None = None
    tags: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    team_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Who shares kept answers: the team, or the key itself if it has none."""
        return f"key:{self.id}" if self.team is None else f"team:{self.team}"

    def setting(self, name: str, default: Any = None) -> Any:
        """The key's own setting, else its team's, else `default`."""
        if name in self.settings:
            return self.settings[name]
        return self.team_settings.get(name, default)

    def allows(self, name: str) -> bool:
        """May this key use the alias or the canonical `provider/model` called `name`?"""
        return any(pattern == "*" or fnmatchcase(name, pattern) for pattern in self.models)


def new_secret(prefix: str = KEY_PREFIX) -> tuple[str, str]:
    """A fresh `(public id, secret)`: 192 random bits behind a visible prefix and the id.

    The id is part of the secret's text, so that a leaked key can be named in a report by its
    first characters; it alone opens nothing.
    """
    public_id = secrets.token_hex(4)
    return public_id, f"{prefix}{public_id}-{secrets.token_urlsafe(24)}"


def digest(pepper: bytes, secret: str) -> bytes:
    """HMAC-SHA256 of a presented secret: the only form in which a key is stored or looked up."""
    return hmac.digest(pepper, secret.encode("utf-8", "surrogateescape"), hashlib.sha256)
