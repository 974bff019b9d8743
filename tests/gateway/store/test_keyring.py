from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from gateway.errors import Unavailable
from gateway.keys import VirtualKey
from gateway.store import keyring as keyring_module
from gateway.store.keyadmin import KeyAdmin
from gateway.store.keyring import Keyring
from gateway.store.keytable import KeyDraft
from gateway.store.sqlite import reading
from tests.gateway.store.entries import NOW_MS, Clock, Rows, until

PEPPER = b"pepper of the tests"


class Seconds:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class CountedReads(Keyring):
    """Counts its reads of the version; `pause` holds them before they begin."""

    reads = 0
    pause: asyncio.Event | None = None

    async def _read_version(self) -> int:
        self.reads += 1
        version = await super()._read_version()
        if self.pause is not None:
            await self.pause.wait()
        return version


@pytest.fixture
async def db(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with reading(path) as db:
        yield db


@pytest.fixture
async def admin(path: Path, clock: Clock) -> AsyncIterator[KeyAdmin]:
    async with reading(path) as db:
        yield KeyAdmin(db, PEPPER, clock)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def keyring(db: aiosqlite.Connection, seconds: Seconds) -> CountedReads:
    keyring = CountedReads(db, PEPPER, 10.0, seconds)
    await keyring.refresh()
    keyring.reads = 0
    return keyring


async def test_a_key_is_found_by_its_secret_without_a_read(
    admin: KeyAdmin, keyring: CountedReads
) -> None:
    draft = KeyDraft(name="ci", models=["m"], tags=["t"], expires_at_ms=NOW_MS + 500)
    key = await admin.create(draft)
    await keyring.refresh()
    keyring.reads = 0
    assert await keyring.find(key.secret) == VirtualKey(
        id=key.id, name="ci", models=("m",), tags=("t",), expires_at=NOW_MS / 1000 + 0.5
    )
    assert keyring.reads == 0


async def test_bindings_of_a_key_go_over_its_teams(admin: KeyAdmin, keyring: Keyring) -> None:
    await admin.bind_team("red", {"openai": "team", "anthropic": "team"})
    key = await admin.create(KeyDraft(name="ci", team="red", credentials={"openai": "own"}))
    found = await keyring.find(key.secret)
    assert found is not None
    assert found.team == "red"
    assert found.credentials == {"openai": "own", "anthropic": "team"}


async def test_a_new_key_works_at_once(admin: KeyAdmin, keyring: CountedReads) -> None:
    key = await admin.create(KeyDraft(name="new"))
    found = await keyring.find(key.secret)
    assert found is not None
    assert found.id == key.id


async def test_an_unknown_key_is_looked_for_once(keyring: CountedReads) -> None:
    assert [await keyring.find("sk-sluice-nobody") for _ in range(3)] == [None] * 3
    assert keyring.reads == 1


async def test_an_unknown_key_is_looked_for_again_after_a_change(
    admin: KeyAdmin, keyring: CountedReads
) -> None:
    await keyring.find("sk-sluice-nobody")
    await admin.create(KeyDraft(name="other"))
    await keyring.refresh()
    keyring.reads = 0
    assert await keyring.find("sk-sluice-nobody") is None
    assert keyring.reads == 1


async def test_unknown_keys_share_reads_and_fill_no_memory(
    keyring: CountedReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_module, "MAX_UNKNOWN", 50)
    found = await asyncio.gather(*(keyring.find(f"sk-sluice-{n}") for n in range(200)))
    assert found == [None] * 200
    assert keyring.reads == 1
    assert len(keyring._unknown) <= 50


async def test_a_key_made_during_a_read_is_found_by_the_read_after_it(
    admin: KeyAdmin, keyring: CountedReads
) -> None:
    keyring.pause = asyncio.Event()
    early = asyncio.create_task(keyring.find("sk-sluice-nobody"))
    await until(lambda: keyring.reads == 1)  # has read the version as it was
    key = await admin.create(KeyDraft(name="new"))
    late = asyncio.create_task(keyring.find(key.secret))
    await asyncio.sleep(0.01)
    keyring.pause.set()
    assert await early is None
    found = await late
    assert found is not None
    assert found.id == key.id


async def test_a_cancelled_search_does_not_end_the_others(keyring: CountedReads) -> None:
    keyring.pause = asyncio.Event()
    searches = [asyncio.create_task(keyring.find(f"sk-sluice-{n}")) for n in range(2)]
    await until(lambda: keyring.reads == 1)
    searches[0].cancel()
    keyring.pause.set()
    assert await searches[1] is None
    with pytest.raises(asyncio.CancelledError):
        await searches[0]


async def test_a_revocation_is_noticed_without_being_asked(
    admin: KeyAdmin, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_module, "POLL_S", 0.01)
    key = await admin.create(KeyDraft(name="a"))
    found = await keyring.find(key.secret)
    assert found is not None
    assert found.revoked_at is None
    task = asyncio.create_task(keyring.run())
    await admin.revoke(key.id)

    async def revoked() -> bool:
        found = await keyring.find(key.secret)
        return found is not None and found.revoked_at == NOW_MS / 1000

    await until(revoked)
    task.cancel()


async def test_keys_that_could_not_be_checked_for_too_long_are_not_accepted(
    admin: KeyAdmin, keyring: Keyring, seconds: Seconds
) -> None:
    key = await admin.create(KeyDraft(name="a"))
    await keyring.refresh()
    seconds.now_s += 10.0
    assert await keyring.find(key.secret)
    assert keyring.fresh
    seconds.now_s += 0.1
    assert not keyring.fresh
    with pytest.raises(Unavailable):
        await keyring.find(key.secret)
    await keyring.refresh()
    assert await keyring.find(key.secret)


async def test_an_unreadable_database_makes_unknown_keys_unavailable_and_known_ones_not(
    admin: KeyAdmin, keyring: Keyring, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await admin.create(KeyDraft(name="a"))
    await keyring.refresh()
    rows.execute("ALTER TABLE keys_version RENAME TO elsewhere")
    assert await keyring.find(key.secret)
    with pytest.raises(Unavailable):
        await keyring.find("sk-sluice-nobody")
    with pytest.raises(sqlite3.Error):
        await keyring.refresh()
    monkeypatch.setattr(keyring_module, "POLL_S", 0.01)
    task = asyncio.create_task(keyring.run())
    await asyncio.sleep(0.05)  # a failed read does not end it
    rows.execute("ALTER TABLE elsewhere RENAME TO keys_version")
    other = await admin.create(KeyDraft(name="b"))
    await until(lambda: any(found.id == other.id for found in keyring._keys.values()))
    task.cancel()
