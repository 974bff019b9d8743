from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway import config
from gateway.store import database as database_module
from gateway.store.database import Prepared, Store, administration, prepare
from gateway.store.faults import BadDatabaseUrl, OlderDatabase, StoreFault
from gateway.store.keytable import KeyDraft
from gateway.store.sqlite import connect, create_file
from tests.gateway.store.entries import Rows, intent, record, settlement, until

DATABASE = config.Database(url="sqlite:data/sluice.db")
KEYS = config.Keys(pepper="file:data/pepper")


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(DATABASE, KEYS, tmp_path)


@pytest.fixture
async def store(prepared: Prepared) -> AsyncIterator[Store]:
    store = await Store.open(prepared, DATABASE, KEYS)
    yield store
    await store.close()


@pytest.fixture
def committed(prepared: Prepared) -> Iterator[Rows]:
    rows = Rows(prepared.path)
    yield rows
    rows.close()


def test_preparing_makes_everything_and_repeats_harmlessly(
    prepared: Prepared, tmp_path: Path
) -> None:
    files = {file.name for file in (tmp_path / "data").iterdir()}
    assert {"sluice.db", "pepper"} <= files
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert prepare(DATABASE, KEYS, tmp_path) == prepared
    assert prepared.pepper.decode() not in repr(prepared)


def test_a_url_that_names_no_database_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadDatabaseUrl):
        prepare(config.Database(url="sqlite::memory:"), KEYS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_a_fault_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "sluice.db").write_bytes(b"something else entirely, and long enough" * 100)
    with pytest.raises(StoreFault, match=r"database file .*sluice\.db: file is not a database"):
        prepare(config.Database(url="sqlite:sluice.db"), KEYS, tmp_path)


async def test_a_database_that_was_not_prepared_is_not_opened(tmp_path: Path) -> None:
    create_file(tmp_path / "bare.db")
    with pytest.raises(OlderDatabase):
        await Store.open(Prepared(tmp_path / "bare.db", b"pepper"), DATABASE, KEYS)


async def test_a_store_is_healthy_until_it_is_closed(prepared: Prepared) -> None:
    store = await Store.open(prepared, DATABASE, KEYS)
    assert await store.healthy()
    await store.close()
    assert not await store.healthy()


async def test_a_store_that_cannot_write_is_not_healthy(
    store: Store, committed: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._writer, "_timeout_s", 0.05)
    committed.execute("BEGIN IMMEDIATE")
    assert not await store.healthy()
    committed.execute("ROLLBACK")
    monkeypatch.setattr(store._writer, "_timeout_s", 5.0)
    assert await store.healthy()


async def test_keys_made_by_a_command_open_a_running_store(
    store: Store, prepared: Prepared
) -> None:
    async with administration(prepared) as admin:
        key = await admin.keys.create(KeyDraft(name="new"))
        found = await store.keyring.find(key.secret)
        assert found is not None
        await admin.keys.revoke(key.id)

    async def revoked() -> bool:
        found = await store.keyring.find(key.secret)
        return found is not None and found.revoked_at is not None

    await until(revoked, within_s=1.0)  # as promised


async def test_closing_writes_what_is_queued_and_gives_the_lease_up(
    prepared: Prepared, committed: Rows
) -> None:
    store = await Store.open(prepared, DATABASE, KEYS)
    await store.accounts.open(intent())
    settling = asyncio.create_task(store.accounts.settle(settlement()))
    store.accounts.record(record())
    await asyncio.sleep(0)
    await store.close()
    await settling
    assert committed.charges()["call_1.1"]["state"] == "settled"
    assert set(committed.calls()) == {"call_1"}
    assert committed.all("SELECT * FROM processes") == []


async def test_closing_tries_once_more_what_is_unsettled(
    prepared: Prepared, committed: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "connect", partial(connect, busy_timeout_s=0.05))
    store = await Store.open(prepared, DATABASE, KEYS)
    await store.accounts.open(intent())
    committed.execute("BEGIN IMMEDIATE")
    await store.accounts.settle(settlement(cost_nano_usd=7))
    committed.execute("ROLLBACK")
    assert store.accounts.unsettled == 1
    await store.close()
    assert committed.charges()["call_1.1"]["cost_nano_usd"] == 7


async def test_opening_sweeps_what_was_left_open(prepared: Prepared, committed: Rows) -> None:
    left = await Store.open(prepared, DATABASE, KEYS)
    await left.accounts.open(intent())
    await left.close()
    store = await Store.open(prepared, DATABASE, KEYS)
    assert committed.charges()["call_1.1"]["state"] == "lost"
    assert store.leases.swept == 1
    await store.close()
