"""Deleting a team: what goes with it, and what stays?

Its keys are revoked, and what was kept of its answers becomes unreadable: its data key is deleted,
and its entries of the cache are out of use in every process. Its budgets, bindings and settings go
too. The ledger keeps its rows, and its keys keep its name; a team that is made again under this
name begins with nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import aiosqlite

from gateway.cache.epochs import Scope
from gateway.store.audit import Via
from gateway.store.cacheadmin import clear
from gateway.store.keytable import change, select_keys
from gateway.store.leases import unix_ms

_DELETED = (
    "DELETE FROM data_keys WHERE owner = 'team:' || ?",
    "DELETE FROM idempotency WHERE key_id IN (SELECT id FROM keys WHERE team = ?)",
    "DELETE FROM budget_periods WHERE budget_id IN "
    "(SELECT id FROM budgets WHERE scope = 'team' AND scope_value = ?)",
    "DELETE FROM charge_reservations WHERE budget_id IN "
    "(SELECT id FROM budgets WHERE scope = 'team' AND scope_value = ?)",
    "DELETE FROM budgets WHERE scope = 'team' AND scope_value = ?",
)
_REVOKE = "UPDATE keys SET revoked_at_ms = ? WHERE team = ? AND revoked_at_ms IS NULL"
_MARK = """
UPDATE teams SET deleted_at_ms = ?, credentials = '{}', settings = '{}'
WHERE name = ? AND deleted_at_ms IS NULL"""


class UnknownTeam(Exception):
    """No team has this name."""


class TeamInUse(Exception):
    """The team has keys that still work. `keys` are their ids."""

    def __init__(self, team: str, keys: tuple[str, ...]) -> None:
        super().__init__(f"team {team!r} has {len(keys)} keys that work: {', '.join(keys)}")
        self.keys = keys


class TeamAdmin:
    """Deletes teams, over one connection."""

    def __init__(
        self, db: aiosqlite.Connection, clock: Callable[[], int] = unix_ms, via: Via = "cli"
    ) -> None:
        self._db = db
        self._clock = clock
        self._via = via

    async def delete(self, team: str, *, revoke_keys: bool = False) -> tuple[str, ...]:
        """Delete a team; the ids of the keys that worked until now.

        Raises `UnknownTeam`, and `TeamInUse` where keys work and are not to be revoked.
        """
        now_ms = self._clock()
        async with change(self._db, self._via, now_ms) as audit:
            working = tuple(
                key.id
                for key in await select_keys(self._db)
                if key.team == team
                and key.revoked_at_ms is None
                and (key.expires_at_ms is None or key.expires_at_ms > now_ms)
            )
            marked = await self._db.execute(_MARK, (now_ms, team))
            if marked.rowcount == 0:
                raise UnknownTeam(f"there is no team {team!r}")
            if working and not revoke_keys:
                raise TeamInUse(team, working)
            await self._db.execute(_REVOKE, (now_ms, team))
            for statement in _DELETED:
                await self._db.execute(statement, (team,))
            await clear(self._db, Scope(owner=f"team:{team}"), now_ms)
            await audit.note("team.delete", team, {"revoked": list(working)})
        return working
