"""The parts that the admin API is made of."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.cache.caching import Caching
from gateway.edge.admin.attempts import Attempts
from gateway.edge.admin.guard import AdminKey, Find, Guard
from gateway.edge.admin.sessions import Sessions
from gateway.edge.visits import Visits
from gateway.generation import Generation, Reloaded
from gateway.health import Health
from gateway.store.desk import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminParts:
    """What one process offers to its operator. `generation` is the one in force.

    `reload` has the configuration read anew, by the other workers too.
    `process` is the name under which the ledger knows this process; `healthy`: can it write there?
    `redis` says whether Redis is used now; None where none is configured. `spread_s` is how long a
    change takes until every process knows it.
    """

    desk: Desk
    admin_key: AdminKey
    find: Find
    generation: Callable[[], Generation]
    reload: Callable[[], Awaitable[Reloaded]]
    health: Health
    visits: Visits
    process: Callable[[], str]
    healthy: Callable[[], Awaitable[bool]]
    caching: Caching | None = None
    redis: Callable[[], bool] | None = None
    spread_s: float = 1.0
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.admin_key.session_secret, self.desk.clock)

    @property
    def guard(self) -> Guard:
        def now_s() -> float:
            return self.desk.clock() / 1000

        return Guard(self.admin_key, self.find, self.sessions, self.attempts, now_s)
