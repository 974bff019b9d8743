"""Is there a row for every change, in the change's own transaction, and no secret in any?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from gateway.store.administration import Administration
from gateway.store.audit import AuditRow, Unaudited
from gateway.store.budgetadmin import BudgetDraft
from gateway.store.keytable import KeyDraft, change, transaction
from gateway.store.sqlite import reading
from tests.gateway.store.entries import NOW_MS, Clock, Rows

PEPPER = b"pepper of the tests"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with reading(path) as db:
        yield db


@pytest.fixture
def admin(db: aiosqlite.Connection, clock: Clock) -> Administration:
    return Administration.of(db, PEPPER, None, clock, "api")


def draft(**more: Any) -> BudgetDraft:
    values: dict[str, Any] = {
        "scope": "team", "scope_value": "red", "period": "day", "zone": "UTC",
        "limit_nano_usd": 5, "hard": True,
    }  # fmt: skip
    return BudgetDraft(**(values | more))


def shown(row: AuditRow) -> tuple[str, str, Any, Any]:
    return row.action, row.object, row.before, row.after


async def latest(admin: Administration) -> AuditRow:
    return (await admin.audit.list(1))[0]


async def test_a_new_key_and_its_new_team_are_told(admin: Administration) -> None:
    key = await admin.keys.create(KeyDraft(name="ci", team="red", tags=["t"]))
    made, team = await admin.audit.list()
    assert shown(team) == ("team.create", "red", None, {})
    assert (made.id, team.id) == (2, 1)
    assert (made.action, made.object, made.before) == ("key.create", key.id, None)
    assert made.after is not None
    assert (made.after["name"], made.after["tags"]) == ("ci", ["t"])
    assert (made.at_ms, made.who, made.via) == (NOW_MS, "admin", "api")


Act = Callable[[Administration, str], Awaitable[Any]]


@pytest.mark.parametrize(
    ("act", "action", "before", "after"),
    [
        (lambda a, k: a.keys.update(k, {"name": "n"}), "key.update", {"name": "a"}, {"name": "n"}),
        (
            lambda a, k: a.keys.set_key(k, {"rpm": 5}),
            "key.update",
            {"settings": {}},
            {"settings": {"rpm": 5}},
        ),
        (
            lambda a, k: a.keys.bind_key(k, {"openai": "lab"}),
            "key.update",
            {"credentials": {}},
            {"credentials": {"openai": "lab"}},
        ),
        (
            lambda a, k: a.keys.revoke(k),
            "key.revoke",
            {"revoked_at_ms": None},
            {"revoked_at_ms": NOW_MS},
        ),
        (
            lambda a, k: a.keys.set_team("red", {"tpm": 1}),
            "team.update",
            {"settings": {}},
            {"settings": {"tpm": 1}},
        ),
        (
            lambda a, k: a.keys.bind_team("red", {"openai": "lab"}),
            "team.update",
            {"credentials": {}},
            {"credentials": {"openai": "lab"}},
        ),
        (lambda a, k: a.admin_key.reset(), "admin_key.set", None, None),
    ],
)
async def test_a_change_tells_what_differs(
    admin: Administration, act: Act, action: str, before: Any, after: Any
) -> None:
    key = await admin.keys.create(KeyDraft(name="a"))
    await act(admin, key.id)
    row = await latest(admin)
    assert (row.action, row.before, row.after) == (action, before, after)
    assert row.object == {"key": key.id, "team": "red", "admin_key": "admin"}[action.split(".")[0]]


async def test_a_rotation_tells_of_both_keys(admin: Administration) -> None:
    old = await admin.keys.create(KeyDraft(name="a"))
    new = await admin.keys.rotate(old.id, 60)
    made, ended, _ = await admin.audit.list()
    later = {"expires_at_ms": NOW_MS + 60_000}
    assert shown(ended) == ("key.rotate", old.id, {"expires_at_ms": None}, later)
    assert (made.action, made.object) == ("key.create", new.id)
    assert made.after is not None
    assert made.after["rotated_from"] == old.id


async def test_budgets_are_told_when_made_changed_and_removed(admin: Administration) -> None:
    made = await admin.budgets.set(draft())
    await admin.budgets.recount(made)  # counts only
    await admin.budgets.set(draft(limit_nano_usd=7))
    await admin.budgets.set(draft(limit_nano_usd=7))
    await admin.budgets.remove_one(made.id)
    await admin.budgets.set(draft())
    await admin.budgets.remove("team", "red", None)
    rows = await admin.audit.list()
    assert [row.action.removeprefix("budget.") for row in reversed(rows)] == [
        "create", "update", "delete", "create", "delete",
    ]  # fmt: skip
    assert shown(rows[3])[1:] == (made.id, {"limit_nano_usd": 5}, {"limit_nano_usd": 7})
    assert rows[2].before is not None
    assert rows[2].before["limit_nano_usd"] == 7
    assert rows[2].after is None


async def test_what_changes_nothing_leaves_no_row(admin: Administration) -> None:
    key = await admin.keys.create(KeyDraft(name="a"))
    await admin.keys.revoke(key.id)
    count = len(await admin.audit.list())
    await admin.keys.revoke(key.id)
    await admin.keys.update(key.id, {"name": "a"})
    await admin.admin_key.first_keys()  # there is a key, but no admin key
    await admin.admin_key.first_keys()
    rows = await admin.audit.list()
    assert len(rows) == count + 1
    assert (rows[0].action, rows[0].via) == ("admin_key.set", "start")


async def test_no_row_holds_a_secret(admin: Administration, rows: Rows) -> None:
    first = await admin.admin_key.first_keys()
    key = await admin.keys.create(KeyDraft(name="a"))
    new = await admin.keys.rotate(key.id)
    reset = await admin.admin_key.reset()
    everything = json.dumps(rows.all("SELECT * FROM audit"))
    assert first.key is not None
    assert first.admin_secret is not None
    for secret in (first.key.secret, first.admin_secret, key.secret, new.secret, reset):
        assert secret not in everything
    for row in rows.all("SELECT digest FROM keys"):
        assert row["digest"] not in everything


async def test_the_trail_is_filtered_and_paged(admin: Administration) -> None:
    ids = [(await admin.keys.create(KeyDraft(name=name))).id for name in "abc"]
    await admin.keys.revoke(ids[0])
    assert [row.id for row in await admin.audit.list(2)] == [4, 3]
    assert [row.id for row in await admin.audit.list(2, before_id=3)] == [2, 1]
    assert [row.id for row in await admin.audit.list(object_id=ids[0])] == [4, 1]
    assert [row.id for row in await admin.audit.list(action="key.revoke")] == [4]


async def test_a_failed_change_leaves_no_row(
    db: aiosqlite.Connection, admin: Administration
) -> None:
    async def fail() -> None:
        async with change(db, "api", NOW_MS) as audit:
            await audit.note("key.update", "k", {}, {"a": 1})
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await admin.audit.list() == []
    assert not db.in_transaction


async def test_a_change_that_says_nothing_is_undone(db: aiosqlite.Connection, rows: Rows) -> None:
    with pytest.raises(Unaudited):
        async with change(db, "api", NOW_MS):
            await db.execute("INSERT INTO meta VALUES ('a', 'b', 1)")
    assert rows.all("SELECT * FROM meta") == []


async def test_a_change_cancelled_while_it_begins_leaves_no_transaction(
    db: aiosqlite.Connection, path: Path
) -> None:
    async def begin() -> None:
        async with transaction(db):
            await asyncio.Event().wait()

    async with reading(path) as other, transaction(other):  # the other one has to wait for this
        task = asyncio.create_task(begin())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.execute("SELECT 1")  # all that was queued before it is done
    assert not db.in_transaction
