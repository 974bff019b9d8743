from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.keys import ADMIN_KEY_PREFIX
from gateway.store.adminkey import AdminKey, FirstKeys
from gateway.store.keyadmin import KeyAdmin
from gateway.store.keytable import KeyDraft
from gateway.store.sqlite import reading
from tests.gateway.store.entries import Rows

PEPPER = b"pepper of the tests"


@pytest.fixture
async def admin_key(path: Path) -> AsyncIterator[AdminKey]:
    async with reading(path) as db:
        yield AdminKey(db, PEPPER)


async def test_an_empty_database_gets_a_virtual_key_and_an_admin_key(
    admin_key: AdminKey, rows: Rows
) -> None:
    first = await admin_key.first_keys()
    assert first.key is not None
    assert first.admin_secret is not None
    assert first.admin_secret.startswith(ADMIN_KEY_PREFIX)
    assert await admin_key.check(first.admin_secret)
    assert [row["id"] for row in rows.all("SELECT id FROM keys")] == [first.key.id]
    assert first.key.secret not in repr(first)
    assert first.admin_secret not in repr(first)
    assert await admin_key.first_keys() == FirstKeys(key=None, admin_secret=None)


async def test_of_processes_that_start_together_one_makes_the_first_keys(
    path: Path, rows: Rows
) -> None:
    async with AsyncExitStack() as stack:
        starts = [
            AdminKey(await stack.enter_async_context(reading(path)), PEPPER) for _ in range(5)
        ]
        made = await asyncio.gather(*(start.first_keys() for start in starts))
    assert len([first for first in made if first.key]) == 1
    assert [bool(first.key) for first in made] == [bool(first.admin_secret) for first in made]
    assert len(rows.all("SELECT id FROM keys")) == 1


async def test_the_operators_admin_key_is_set_and_not_shown_again(admin_key: AdminKey) -> None:
    first = await admin_key.first_keys("chosen-by-the-operator")
    assert first.admin_secret is None
    assert first.key is not None
    assert await admin_key.check("chosen-by-the-operator")


async def test_a_later_choice_of_the_operator_replaces_the_admin_key(
    admin_key: AdminKey, rows: Rows
) -> None:
    made = await admin_key.first_keys()
    await admin_key.first_keys("chosen-by-the-operator")
    assert made.admin_secret is not None
    assert not await admin_key.check(made.admin_secret)
    assert await admin_key.check("chosen-by-the-operator")


async def test_a_reset_replaces_the_admin_key(admin_key: AdminKey) -> None:
    old = await admin_key.reset()
    new = await admin_key.reset()
    assert old != new
    assert [await admin_key.check(secret) for secret in (old, new, "", "schlüssel")] == [
        False,
        True,
        False,
        False,
    ]


async def test_no_admin_key_opens_a_database_that_has_none(admin_key: AdminKey) -> None:
    assert not await admin_key.check("")


async def test_a_database_with_keys_gets_no_further_first_key(
    path: Path, admin_key: AdminKey
) -> None:
    async with reading(path) as db:
        key = await KeyAdmin(db, PEPPER).create(KeyDraft(name="mine"))
        await KeyAdmin(db, PEPPER).revoke(key.id)
    first = await admin_key.first_keys()
    assert first.key is None
    assert first.admin_secret is not None
