from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.faults import NewerDatabase, OlderDatabase
from gateway.store.migrate import available, migrate, require_head, statements, version
from gateway.store.sqlite import connect

HEAD = available()[-1][0]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "empty.db")) as db:
        yield db


def tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_empty_database_is_brought_to_the_head(empty: sqlite3.Connection) -> None:
    assert migrate(empty) == HEAD
    assert {"teams", "keys", "keys_version", "meta", "processes"} < tables(empty)
    assert {"prices", "charges", "calls"} < tables(empty)
    assert version(empty) == HEAD
    require_head(empty)


def test_migrating_again_changes_nothing(empty: sqlite3.Connection) -> None:
    migrate(empty)
    before = list(empty.iterdump())
    migrate(empty)
    assert list(empty.iterdump()) == before


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    faults: list[Exception] = []

    def start() -> None:
        try:
            with closing(connect(tmp_path / "raced.db")) as db:
                migrate(db)
        except sqlite3.Error as error:
            faults.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with closing(connect(tmp_path / "raced.db")) as db:
        applied = db.execute("SELECT version FROM schema_version").fetchall()
    assert applied == [(number,) for number, _ in available()]


@pytest.mark.parametrize("check", [migrate, require_head])
def test_a_database_of_a_newer_release_is_refused(empty: sqlite3.Connection, check) -> None:
    migrate(empty)
    empty.execute("INSERT INTO schema_version (version) VALUES (?)", (HEAD + 1,))
    with pytest.raises(NewerDatabase, match=f"has schema {HEAD + 1}, this release knows {HEAD}"):
        check(empty)


def test_a_database_that_was_not_migrated_is_told_apart(empty: sqlite3.Connection) -> None:
    with pytest.raises(OlderDatabase, match=f"has schema 0, this release needs {HEAD}"):
        require_head(empty)


def test_a_migration_that_fails_leaves_nothing_behind(
    empty: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (a TEXT);\n")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE half (a TEXT);\nCREATE NONSENSE;\n")
    with pytest.raises(sqlite3.OperationalError):
        migrate(empty, tmp_path)
    assert tables(empty) == set()


def test_later_migrations_are_added_to_earlier_ones(
    empty: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (a TEXT);\n")
    migrate(empty, tmp_path)
    (tmp_path / "0002_two.sql").write_text("CREATE TABLE two (a TEXT);\n")
    assert migrate(empty, tmp_path) == 2
    assert tables(empty) == {"schema_version", "one", "two"}


def test_a_script_is_split_into_statements_without_comments() -> None:
    script = (
        "-- first; not a statement\nCREATE TABLE a (\n  b TEXT\n);\n\nINSERT INTO a\nVALUES (1);\n"
    )
    assert statements(script) == ["CREATE TABLE a (\n  b TEXT\n)", "INSERT INTO a\nVALUES (1);"]


@pytest.mark.parametrize("number_and_file", available(), ids=lambda pair: pair[1].name)
def test_migrations_keep_to_the_types_that_both_databases_share(number_and_file) -> None:
    text = number_and_file[1].read_text().upper()
    for foreign in ("AUTOINCREMENT", "INTEGER", "REAL", "BLOB", "WITHOUT ROWID", "DATETIME"):
        assert not any(foreign in part for part in statements(text))
