"""Sealing: how is something kept so that only the holder of a key can read it, unchanged?

AES-256-GCM. What is sealed is bound to a context (what it is, and whose): under another context it
does not open, so that nobody can put one sealed text in the place of another. It begins with

    version (1 byte) · id of the key (4) · nonce (12, random)

so that it is known which of several keys opens it, and a key can be replaced: `Sealer` seals with
its first key, and opens with all. The ids are derived from the keys and tell nothing of them.

A key may seal 2³² times, the bound for random nonces. What is much has data keys of its own, which
are kept sealed ("wrapped"): who deletes a data key has deleted what it sealed, wherever that lies.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
_HEAD_BYTES = len(_VERSION) + _ID_BYTES
_WRAPPED = b"data key\0"


class Unsealable(Exception):
    """What is sealed cannot be read: it was changed, or belongs to another key or context."""


class Sealer:
    """Seals with `key`, and opens what `key` or one of `old` has sealed. Keys are 32 bytes."""

    def __init__(self, key: bytes, old: Sequence[bytes] = ()) -> None:
        if any(len(one) != KEY_BYTES for one in (key, *old)):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self.key_id = key_id(key)
        self._keys = {key_id(one): one for one in (*old, key)}
        self._ciphers: dict[bytes, AESGCM] = {}

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """`plaintext` so that only `open` with this context reads it. 33 bytes longer."""
        head, nonce = _VERSION + self.key_id, os.urandom(_NONCE_BYTES)
        return head + nonce + self._cipher(head).encrypt(nonce, plaintext, head + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed under this context. Raises `Unsealable`."""
        from cryptography.exceptions import InvalidTag

        head, nonce = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        if len(sealed) < _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES or not head.startswith(_VERSION):
            raise Unsealable("this is nothing that was sealed")
        try:
            return self._cipher(head).decrypt(
                nonce, sealed[_HEAD_BYTES + _NONCE_BYTES :], head + context
            )
        except InvalidTag:
            raise Unsealable("what is sealed was changed, or stands in another's place") from None

    def is_current(self, sealed: bytes) -> bool:
        """Was it sealed with the key that seals now? If not, it is to be sealed anew."""
        return sealed.startswith(_VERSION + self.key_id)

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """A data key as it may lie beside what it seals."""
        return self.seal(data_key, _WRAPPED + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> Sealer:
        """The sealer of a wrapped data key. Raises `Unsealable`."""
        data_key = self.open(wrapped, _WRAPPED + context)
        if len(data_key) != KEY_BYTES:
            raise Unsealable("this is no data key")
        return Sealer(data_key)

    def reseal(self, sealed: bytes, context: bytes) -> bytes:
        """The same under the key that seals now. Raises `Unsealable`."""
        return self.seal(self.open(sealed, context), context)

    def rewrap(self, wrapped: bytes, context: bytes) -> bytes:
        """As `reseal`, for a wrapped data key."""
        return self.reseal(wrapped, _WRAPPED + context)

    def knows(self, key_id: bytes) -> bool:
        """Does it have the key of this id?"""
        return key_id in self._keys

    def _cipher(self, head: bytes) -> AESGCM:
        # Imported when something is sealed first: it takes 40 ms, and most starts need none of it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        found = head[len(_VERSION) :]
        if found not in self._ciphers:
            key = self._keys.get(found)
            if key is None:
                raise Unsealable(f"it was sealed with a key that is not here (id {found.hex()})")
            self._ciphers[found] = AESGCM(key)
        return self._ciphers[found]


def preload() -> None:
    """Import what sealing needs, so that the first to be sealed does not wait for it: 40 ms."""
    Sealer(new_key()).seal(b"", b"")


class NoDataKey(Exception):
    """An owner's data key is there, but cannot be had now."""


class DataKeys(Protocol):
    """The sealers of data keys, one per owner (a team, or a key without one)."""

    def known(self, owner: str) -> Sealer | None:
        """The owner's sealer, if it is in memory."""

    async def find(self, owner: str) -> Sealer | None:
        """The owner's sealer; None if it has none. Raises `NoDataKey`."""

    async def make(self, owner: str) -> Sealer:
        """The owner's sealer, a new one if there is none. Raises `NoDataKey`."""


def new_key() -> bytes:
    """A random key."""
    return os.urandom(KEY_BYTES)


def key_id(key: bytes) -> bytes:
    """A key's name in what it has sealed."""
    return hmac.digest(key, b"sluice key id", hashlib.sha256)[:_ID_BYTES]
