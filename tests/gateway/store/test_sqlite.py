from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from gateway.store.faults import BadDatabaseUrl, StoreFault
from gateway.store.sqlite import connect, create_file, database_path, reading, transaction


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:data/a.db", "/base/data/a.db"), ("sqlite:/var/a.db", "/var/a.db")],
)
def test_a_url_names_a_file_relative_to_the_configuration(url: str, path: str) -> None:
    assert database_path(url, Path("/base")) == Path(path)


@pytest.mark.parametrize(
    "url",
    ["sqlite::memory:", "sqlite:", "sqlite:///data/a.db", "postgresql://host/db", "data/a.db", ""],
)
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=r"database\.url"):
        database_path(url, Path("/base"))


def test_the_files_are_their_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.db"
    create_file(path)
    db = connect(path)
    db.execute("CREATE TABLE a (b TEXT)")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert {file.suffix for file in path.parent.iterdir()} == {".db", ".db-wal", ".db-shm"}
    db.close()


def test_a_file_that_cannot_be_made_is_a_fault_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFault, match=r"database file .*a\.db"):
        create_file(tmp_path / "file" / "a.db")


@pytest.mark.parametrize(("synchronous", "value"), [("normal", 1), ("full", 2)])
def test_a_connection_has_wal_and_the_durability_that_was_asked_for(
    tmp_path: Path, synchronous, value: int
) -> None:
    db = connect(tmp_path / "a.db", synchronous, busy_timeout_s=1.5)
    pragmas = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in (
            "journal_mode",
            "synchronous",
            "foreign_keys",
            "busy_timeout",
            "wal_autocheckpoint",
        )
    }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": value,
        "foreign_keys": 1,
        "busy_timeout": 1500,
        "wal_autocheckpoint": 4000,
    }
    db.close()


async def test_readers_are_opened_off_the_loop_with_the_same_settings(path: Path) -> None:
    async with reading(path) as db, db.execute("PRAGMA foreign_keys") as found:
        assert await found.fetchone() == (1,)


def test_a_database_that_stays_locked_is_not_waited_for_without_limit(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connect(tmp_path / "a.db", busy_timeout_s=0.05)
    holder.close()


def test_a_transaction_is_undone_by_any_exception(tmp_path: Path) -> None:
    db = connect(tmp_path / "a.db")
    db.execute("CREATE TABLE a (b TEXT)")
    with pytest.raises(KeyboardInterrupt):
        _interrupted_write(db)
    assert db.execute("SELECT * FROM a").fetchall() == []
    db.close()


def _interrupted_write(db: sqlite3.Connection) -> None:
    with transaction(db):
        db.execute("INSERT INTO a VALUES ('x')")
        raise KeyboardInterrupt


def test_writers_wait_for_each_other_no_longer_than_the_busy_timeout(tmp_path: Path) -> None:
    first, second = (connect(tmp_path / "a.db", busy_timeout_s=0.02) for _ in range(2))
    with transaction(first), pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("BEGIN IMMEDIATE")
    first.close()
    second.close()
