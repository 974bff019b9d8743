"""Does a deleted team leave nothing behind that works or can be read?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cache.epochs import Scope
from gateway.store.budgetadmin import BudgetAdmin, BudgetDraft
from gateway.store.keyadmin import KeyAdmin
from gateway.store.keytable import KeyDraft
from gateway.store.sqlite import reading
from gateway.store.teamadmin import TeamAdmin, TeamInUse, UnknownTeam
from tests.gateway.store.entries import NOW_MS, Clock, Rows

_DATA_KEY = "INSERT INTO data_keys VALUES (?, '00', 1)"


@dataclass
class Admin:
    keys: KeyAdmin
    teams: TeamAdmin
    budgets: BudgetAdmin


@pytest.fixture
async def admin(path: Path, clock: Clock) -> AsyncIterator[Admin]:
    async with reading(path) as db:
        keys = KeyAdmin(db, b"pepper of the tests", clock)
        yield Admin(keys, TeamAdmin(db, clock), BudgetAdmin(db, clock))


async def made(admin: Admin, rows: Rows) -> dict[str, str]:
    """Two teams with a key, a budget and a data key each; the ids of the keys."""
    ids = {}
    for team in ("red", "blue"):
        ids[team] = (await admin.keys.create(KeyDraft(name=team, team=team))).id
        await admin.keys.set_team(team, {"cache": True})
        await admin.budgets.set(
            BudgetDraft(
                scope="team",
                scope_value=team,
                period="month",
                zone="UTC",
                limit_nano_usd=10,
                hard=True,
            )
        )
        rows.execute(_DATA_KEY, (f"team:{team}",))
    return ids


async def test_a_team_with_keys_that_work_stays(admin: Admin, rows: Rows) -> None:
    ids = await made(admin, rows)
    with pytest.raises(TeamInUse, match=ids["red"]) as caught:
        await admin.teams.delete("red")
    assert caught.value.keys == (ids["red"],)
    assert set(await admin.keys.team_bindings()) == {"red", "blue"}
    assert len(rows.all("SELECT * FROM data_keys")) == 2


async def test_all_that_a_team_had_goes_with_it(admin: Admin, rows: Rows) -> None:
    ids = await made(admin, rows)
    assert await admin.teams.delete("red", revoke_keys=True) == (ids["red"],)
    assert (await admin.keys.show(ids["red"])).revoked_at_ms == NOW_MS
    assert (await admin.keys.show(ids["blue"])).revoked_at_ms is None
    assert set(await admin.keys.team_bindings()) == {"blue"}
    assert set(await admin.keys.team_settings()) == {"blue"}
    assert [r["owner"] for r in rows.all("SELECT owner FROM data_keys")] == ["team:blue"]
    assert [s.budget.scope_value for s in await admin.budgets.list()] == ["blue"]
    (cleared,) = rows.all("SELECT * FROM cache_epochs")
    assert Scope(owner=cleared["owner"]) == Scope(owner="team:red")
    with pytest.raises(UnknownTeam):
        await admin.teams.delete("red")


async def test_keys_that_have_ended_do_not_keep_a_team(admin: Admin, clock: Clock) -> None:
    draft = KeyDraft(name="old", team="red", expires_at_ms=NOW_MS + 1)
    key = await admin.keys.create(draft)
    clock.now_ms += 1
    assert await admin.teams.delete("red") == ()
    assert (await admin.keys.show(key.id)).revoked_at_ms is not None  # not to be prolonged


async def test_a_team_that_is_made_again_begins_with_nothing(admin: Admin, rows: Rows) -> None:
    await made(admin, rows)
    await admin.teams.delete("red", revoke_keys=True)
    await admin.keys.create(KeyDraft(name="new", team="red"))
    assert (await admin.keys.team_settings())["red"] == {}


async def test_what_was_kept_for_a_key_alone_goes_when_it_is_revoked(
    admin: Admin, rows: Rows
) -> None:
    ids = [(await admin.keys.create(KeyDraft(name=name))).id for name in ("a", "b", "c")]
    for key_id in ids:
        rows.execute(_DATA_KEY, (f"key:{key_id}",))
    await admin.keys.revoke(ids[0])
    await admin.keys.rotate(ids[1])
    left = {row["owner"] for row in rows.all("SELECT owner FROM data_keys")}
    assert left == {f"key:{ids[2]}"}
