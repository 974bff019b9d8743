"""Clearing: how do entries go out of use, wherever they are, without anybody looking for them?

A clear counts up the epoch of its scope. The sum of the epochs of all scopes that a call is in is
part of the call's key, so that from then on it finds nothing that was kept before.

To find and delete what is out of use there are labels: a key begins with short marks of its owner,
namespace and model. Two names may have the same mark, so a clear may delete an entry too many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

_MARK_BYTES = 4
LABEL_BYTES = 3 * _MARK_BYTES
_NOTHING_CLEARED: Mapping[tuple[str, str, str], int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is cleared together; an empty text is any.

    `owner` is a `VirtualKey.owner`, `namespace` the caller's, `model` as it was asked for.
    """

    owner: str = ""
    namespace: str = ""
    model: str = ""

    def marks(self) -> tuple[bytes | None, ...]:
        """The marks of a key's labels in this scope, in order; None is any."""
        return tuple(_mark(name) if name else None for name in self._names())

    def pattern(self) -> str:
        """How keys in this scope begin, in hexadecimal digits and question marks."""
        return "".join(mark.hex() if mark else "??" * _MARK_BYTES for mark in self.marks())

    def covers(self, key: bytes) -> bool:
        """May this be the key of an entry in the scope?"""
        return all(
            mark is None or key.startswith(mark, _MARK_BYTES * at)
            for at, mark in enumerate(self.marks())
        )

    def _names(self) -> tuple[str, str, str]:
        return self.owner, self.namespace, self.model


class Epochs:
    """The epochs as the database has them. `watch` is told of scopes that were cleared."""

    def __init__(self) -> None:
        self._epochs = _NOTHING_CLEARED
        self._watchers: list[Callable[[Sequence[Scope]], None]] = []

    def of(self, owner: str, namespace: str, model: str) -> int:
        """The epoch of calls of this owner in this namespace for this model."""
        epochs = self._epochs
        if not epochs:
            return 0
        return sum(
            epochs.get((one, other, third), 0)
            for one in {owner, ""}
            for other in {namespace, ""}
            for third in {model, ""}
        )

    def watch(self, watcher: Callable[[Sequence[Scope]], None]) -> None:
        self._watchers.append(watcher)

    def replace(self, epochs: Mapping[tuple[str, str, str], int]) -> None:
        """Take over what the database says; by (owner, namespace, model)."""
        before, self._epochs = self._epochs, epochs
        cleared = [
            Scope(owner=owner, namespace=namespace, model=model)
            for (owner, namespace, model), epoch in epochs.items()
            if epoch != before.get((owner, namespace, model), 0)
        ]
        for watcher in self._watchers if cleared else ():
            watcher(cleared)


def labels(owner: str, namespace: str, model: str) -> bytes:
    """How the keys of these calls begin."""
    return _mark(owner) + _mark(namespace) + _mark(model)


def _mark(name: str) -> bytes:
    return crc32(name.encode("utf-8", "surrogatepass")).to_bytes(_MARK_BYTES, "big")
