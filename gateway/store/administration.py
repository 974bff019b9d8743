"""Administration: what can be changed and read over one connection to the database?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import aiosqlite

from gateway.store.adminkey import AdminKey
from gateway.store.audit import AuditTrail, Via
from gateway.store.budgetadmin import BudgetAdmin
from gateway.store.cacheadmin import CacheAdmin
from gateway.store.keyadmin import KeyAdmin
from gateway.store.leases import unix_ms
from gateway.store.reports import Reports
from gateway.store.teamadmin import TeamAdmin


@dataclass(frozen=True, slots=True)
class Administration:
    """What a command, or a request to the admin API, works with."""

    db: aiosqlite.Connection
    keys: KeyAdmin
    admin_key: AdminKey
    reports: Reports
    budgets: BudgetAdmin
    audit: AuditTrail
    cache: CacheAdmin
    teams: TeamAdmin

    @classmethod
    def of(
        cls,
        db: aiosqlite.Connection,
        pepper: bytes,
        clock: Callable[[], int] = unix_ms,
        via: Via = "cli",
    ) -> Administration:
        return cls(
            db=db,
            keys=KeyAdmin(db, pepper, clock, via),
            admin_key=AdminKey(db, pepper, clock, via),
            reports=Reports(db),
            budgets=BudgetAdmin(db, clock, via),
            audit=AuditTrail(db),
            cache=CacheAdmin(db, clock, via),
            teams=TeamAdmin(db, clock, via),
        )
