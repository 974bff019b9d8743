"""Keys: who is calling?"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import InvalidKey
from gateway.exchange import Call, Handler, Reply
from gateway.keys import VirtualKey
from gateway.parts import Keyring
from gateway.trace import Identified


class Keys:
    """Admits calls that present a valid virtual key. What the key may use, Route decides."""

    def __init__(self, keyring: Keyring, now: Callable[[], float]) -> None:
        self._keyring = keyring
        self._now = now

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        key = await self.admit(call.credential)
        call.trace.add(Identified(key))
        return await call_next(call.with_(key=key))

    async def admit(self, secret: str | None) -> VirtualKey:
        """The key behind a presented secret. Raises `InvalidKey`, or `Unavailable`."""
        if not secret:
            raise InvalidKey(
                "No API key was given. Send a virtual key as `Authorization: Bearer sk-sluice-…`."
            )
        key = await self._keyring.find(secret)
        if key is None:
            raise InvalidKey("This API key is not known here. Ask your administrator for one.")
        now = self._now()
        if key.revoked_at is not None and key.revoked_at <= now:
            raise InvalidKey(f"The API key {key.id} was revoked.")
        if key.expires_at is not None and key.expires_at <= now:
            raise InvalidKey(f"The API key {key.id} has expired.")
        return key
