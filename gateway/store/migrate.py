"""Migrations: how does a database get from any older schema to this release's?

`migrations/NNNN_name.sql` are applied in order, all that are missing in one transaction.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.store.faults import NewerDatabase, OlderDatabase
from gateway.store.sqlite import transaction

_DIRECTORY = Path(__file__).with_name("migrations")


def available(directory: Path = _DIRECTORY) -> list[tuple[int, Path]]:
    """The numbered files in order."""
    files = sorted(directory.glob("[0-9]*_*.sql"))
    return [(int(file.name.partition("_")[0]), file) for file in files]


def migrate(db: sqlite3.Connection, directory: Path = _DIRECTORY) -> int:
    """Bring the schema to the head and return its number. Raises `NewerDatabase`.

    Processes that start together wait for each other here; the second one finds nothing to do.
    """
    with transaction(db):
        db.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        current = version(db)
        files = available(directory)
        _refuse_newer(current, files[-1][0])
        for number, file in files:
            if number > current:
                for statement in statements(file.read_text("utf-8")):
                    db.execute(statement)
                db.execute("INSERT INTO schema_version (version) VALUES (?)", (number,))
    return files[-1][0]


def require_head(db: sqlite3.Connection) -> None:
    """Check that the schema is this release's, without changing it."""
    known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
    current = version(db) if known else 0
    head = available()[-1][0]
    _refuse_newer(current, head)
    if current < head:
        raise OlderDatabase(f"the database has schema {current}, this release needs {head}")


def version(db: sqlite3.Connection) -> int:
    """The newest migration that was applied; 0 for none."""
    (number,) = db.execute("SELECT COALESCE(MAX(version), 0) FROM schema_version").fetchone()
    return int(number)


def statements(script: str) -> list[str]:
    """The script's statements; each one ends with a ";" at the end of a line.

    A line after `--sqlite:` is SQL for this database, and a comment for any other.
    """
    sqlite = [line.removeprefix("--sqlite:") for line in script.splitlines()]
    lines = [line for line in sqlite if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" ;\n")]


def _refuse_newer(current: int, head: int) -> None:
    if current > head:
        raise NewerDatabase(
            f"the database has schema {current}, this release knows {head}: "
            "start the newer release, or restore a backup from before its start"
        )
