"""The parts that policies are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.budgets import Budgets
from gateway.cache.caching import Caching
from gateway.config import Config
from gateway.directory import Directory
from gateway.exchange import Call
from gateway.flight import Flights
from gateway.health import Health
from gateway.idempotency import Answers
from gateway.keys import VirtualKey
from gateway.ledger import Accounts, CallRecord
from gateway.limits.demand import Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.meter import Pace

Sink = Callable[[Call, CallRecord], None]
"""Takes a call that has ended and its row: the ledger, the metrics, the log. Returns at once."""


class Keyring(Protocol):
    """Where keys are looked up."""

    async def find(self, secret: str) -> VirtualKey | None:
        """The key behind a secret, revoked and expired ones included. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one process offers to its policies."""

    config: Config
    keyring: Keyring
    directory: Directory
    accounts: Accounts
    pace: Pace
    health: Health
    sinks: Sequence[Sink]
    answers: Answers
    limiter: Limiter = field(default_factory=MemoryLimiter)
    budgets: Budgets = field(default_factory=Budgets)
    caching: Caching | None = None
    repeated: Flights = field(default_factory=Flights)
    """Calls with an `Idempotency-Key` that are under way."""
