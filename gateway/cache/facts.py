"""Facts of the cache: what did it do for a call?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.cache.epochs import LABEL_BYTES
from gateway.trace import JSON, Fact

Status = Literal["hit", "miss", "coalesced", "bypass"]
_SHOWN_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Cached(Fact):
    """The cache was on. `key` is None where the caller wanted neither an entry nor to make one."""

    status: Status
    key: bytes | None = None

    def describe(self) -> JSON:
        shown = self.key[LABEL_BYTES:].hex()[:_SHOWN_CHARACTERS] if self.key else None
        return {"fact": "cached", "status": self.status, "key": shown}


@dataclass(frozen=True, slots=True)
class Saved(Fact):
    """What the same answer had cost before, and was not spent again. None: unpriced."""

    tokens: int
    cost_nano_usd: int | None

    def describe(self) -> JSON:
        return {"fact": "saved", "tokens": self.tokens, "cost_nano_usd": self.cost_nano_usd}


@dataclass(frozen=True, slots=True)
class Unreadable(Fact):
    """An entry could not be opened: it was changed or moved, or its key is gone. Taken as none."""

    def describe(self) -> JSON:
        return {"fact": "unreadable"}


@dataclass(frozen=True, slots=True)
class Stored(Fact):
    """The answer was kept."""

    size_bytes: int

    def describe(self) -> JSON:
        return {"fact": "stored", "bytes": self.size_bytes}
