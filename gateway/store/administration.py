"""Administration: what can be changed and read over one connection to the database?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import aiosqlite

from gateway.sealing import Sealer
from gateway.store.adminkey import AdminKey
from gateway.store.audit import Audit, AuditTrail, Via
from gateway.store.budgetadmin import BudgetAdmin
from gateway.store.cacheadmin import CacheAdmin
from gateway.store.credentials import CredentialAdmin
from gateway.store.keyadmin import KeyAdmin
from gateway.store.keytable import change
from gateway.store.leases import unix_ms
from gateway.store.prices import PriceAdmin
from gateway.store.reports import Reports
from gateway.store.teamadmin import TeamAdmin

Change = Callable[[], AbstractAsyncContextManager[Audit]]
"""A transaction for a change that has no class of its own."""


@dataclass(frozen=True, slots=True)
class Administration:
    """What a command, or a request to the admin API, works with.

    Without a sealer no credential can be kept; all else goes.
    """

    db: aiosqlite.Connection
    change: Change
    keys: KeyAdmin
    admin_key: AdminKey
    reports: Reports
    budgets: BudgetAdmin
    audit: AuditTrail
    cache: CacheAdmin
    teams: TeamAdmin
    prices: PriceAdmin
    credentials: CredentialAdmin

    @classmethod
    def of(
        cls,
        db: aiosqlite.Connection,
        pepper: bytes,
        sealer: Sealer | None,
        clock: Callable[[], int] = unix_ms,
        via: Via = "cli",
    ) -> Administration:
        return cls(
            db=db,
            change=lambda: change(db, via, clock()),
            keys=KeyAdmin(db, pepper, clock, via),
            admin_key=AdminKey(db, pepper, clock, via),
            reports=Reports(db),
            budgets=BudgetAdmin(db, clock, via),
            audit=AuditTrail(db),
            cache=CacheAdmin(db, clock, via),
            teams=TeamAdmin(db, clock, via),
            prices=PriceAdmin(db, clock, via),
            credentials=CredentialAdmin(db, sealer, clock, via),
        )
