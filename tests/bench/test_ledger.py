"""Is a made ledger the same each time, and does none of the pages walk through it?"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from bench.ledger import make, measure, pages
from gateway.store.reports import Reports
from gateway.store.rollup.roll import catch_up
from gateway.store.rollup.sums import extent
from gateway.store.sqlite import connect, reading

CEILING_MS = 3_000
"""Generous: a shared machine, and the first time. What was seen stands in bench/README.md."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    make(path, calls=6_000, days=40, keys=80)
    return path


@pytest.fixture
async def db(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    await catch_up(path, at_once=96)
    async with reading(path) as db:
        yield db


def contents(path: Path) -> list[Any]:
    with closing(connect(path)) as db:
        return [
            db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()  # noqa: S608
            for table in ("keys", "calls", "charges")
        ]


def test_the_same_seed_makes_the_same_ledger(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make(tmp_path / name, calls=200, days=2, keys=5, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")


def test_the_indexes_are_those_of_a_migrated_database(path: Path) -> None:
    with closing(connect(path)) as db:
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='index'")}
    assert {"calls_by_time", "calls_by_key", "calls_failed", "charges_by_time"} < names


async def test_every_page_answers_in_time(db: aiosqlite.Connection, path: Path) -> None:
    slow = {name: took for name, took in (await measure(path, 2)).items() if took[0] > CEILING_MS}
    assert slow == {}


async def test_no_page_walks_through_calls_or_charges(
    db: aiosqlite.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, Any]] = []
    execute = aiosqlite.Connection.execute
    current = ""

    def noting(self: aiosqlite.Connection, sql: str, parameters: Any = ()) -> Any:
        asked.append((current, sql, parameters))
        return execute(self, sql, parameters)

    keys = [key async for (key,) in await db.execute("SELECT id FROM keys ORDER BY rowid")]
    _, end_ms = await extent(db)
    monkeypatch.setattr(aiosqlite.Connection, "execute", noting)
    began = time.monotonic()
    for name, ask in pages(keys, end_ms).items():
        current = name
        await ask(Reports(db))
    assert time.monotonic() - began < 60
    with closing(connect(path)) as check:
        walks = [
            (name, step)
            for name, sql, parameters in asked
            if sql.lstrip().startswith(("SELECT", "WITH"))
            for step in steps(check, sql, parameters)
            if step.startswith(("SCAN calls", "SCAN charges", "SCAN kept"))
            and "USING COVERING INDEX calls_by_time" not in step
        ]
    assert walks == []
    assert any("FROM rollup_groups" in sql for _, sql, _ in asked)


def steps(db: sqlite3.Connection, sql: str, parameters: Any) -> list[str]:
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
