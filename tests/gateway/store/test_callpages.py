"""Are pages whole, whatever is asked for, and does each find its rows by an index?"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from bench.ledger import make
from gateway.store import callpages
from gateway.store.callpages import CallPage, next_stretch, page
from gateway.store.filters import Filter
from gateway.store.rollup.roll import catch_up
from gateway.store.sqlite import connect, reading

CALLS = 4_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("pages") / "ledger.db"
    return path, make(path, calls=CALLS, days=6, keys=9)


@pytest.fixture
def keys(made: tuple[Path, list[str]]) -> list[str]:
    return made[1]


@pytest.fixture(params=["rows", "sums"])
async def db(
    request: pytest.FixtureRequest, made: tuple[Path, list[str]]
) -> AsyncIterator[aiosqlite.Connection]:
    """Without sums and, from then on, with them."""
    if request.param == "sums":
        await catch_up(made[0], at_once=96)
    async with reading(made[0]) as db:
        yield db


FILTERS = {
    "all": Filter(),
    "team": Filter(team="team-07"),
    "model": Filter(model="fast"),
    "provider": Filter(provider="groq"),
    "target": Filter(target="groq/llama-70b"),
    "status": Filter(status=504),
    "good": Filter(status=200, team="team-00"),
    "error": Filter(error="rate_limit"),
    "failed": Filter(failed=True),
    "cache": Filter(cache="hit"),
    "tag": Filter(tag="batch"),
    "none tagged": Filter(tag="Batch"),
    "cost": Filter(min_cost_nano_usd=30_000_000),
    "several": Filter(team="team-07", failed=True, error="timeout", tag="batch"),
    "model and target": Filter(model="smart", target="openai/gpt-large"),
    "none": Filter(model="none"),
    "none cached": Filter(cache="coalesced"),
}
DIRECT = {
    "all": "1 = 1",
    "team": "team = 'team-07'",
    "model": "asked_model = 'fast'",
    "provider": "target LIKE 'groq/%'",
    "target": "target = 'groq/llama-70b'",
    "status": "status = 504",
    "good": "status = 200 AND team = 'team-00'",
    "error": "error = 'rate_limit'",
    "failed": "error IS NOT NULL",
    "cache": "cache = 'hit'",
    "tag": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = 'batch')",
    "none tagged": "1 = 0",
    "cost": "(SELECT SUM(cost_nano_usd) FROM charges AS c WHERE c.call_id = calls.call_id) "
    ">= 30000000",
    "several": "team = 'team-07' AND error = 'timeout' AND tags LIKE '%batch%'",
    "model and target": "asked_model = 'smart' AND target = 'openai/gpt-large'",
    "none": "1 = 0",
    "none cached": "1 = 0",
}


async def walk(
    db: aiosqlite.Connection, where: Filter, limit: int, look_at: int
) -> tuple[list[str], list[CallPage]]:
    pages: list[CallPage] = []
    after: str | None = None
    while not pages or after is not None:
        pages.append(await page(db, where, limit, after, look_at))
        after = pages[-1].next
    return [row.record.call_id for found in pages for row in found.rows], pages


@pytest.mark.parametrize(("limit", "look_at"), [(300, 100_000), (70, 250)])
@pytest.mark.parametrize("name", FILTERS)
async def test_pages_have_each_call_that_fits_once(
    db: aiosqlite.Connection, name: str, limit: int, look_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callpages, "_FIRST_CHUNK", 100)
    monkeypatch.setattr(callpages, "_CHUNK", 400)
    query = (
        f"SELECT call_id FROM calls WHERE {DIRECT[name]} "  # noqa: S608
        "ORDER BY received_at_ms DESC, call_id DESC"
    )
    async with db.execute(query) as rows:
        wanted = [call_id for (call_id,) in await rows.fetchall()]
    assert bool(wanted) != name.startswith("none")
    found, pages = await walk(db, FILTERS[name], limit, look_at)
    assert found == wanted
    assert all(len(one.rows) <= limit for one in pages)
    if len(wanted) < 30 and look_at > CALLS:
        assert len(pages) == 1


async def test_a_name_that_no_model_has_is_found(db: aiosqlite.Connection) -> None:
    query = "SELECT call_id, asked_model FROM calls WHERE error = 'model_not_found'"
    async with db.execute(query) as rows:
        unknown = [tuple(row) for row in await rows.fetchall()]
    for call_id, model in unknown[:3]:
        found, _ = await walk(db, Filter(model=model), 10, 100_000)
        assert found == [call_id]


async def test_a_key_and_a_period_bound_a_page(db: aiosqlite.Connection, keys: list[str]) -> None:
    async with db.execute(
        "SELECT received_at_ms, call_id FROM calls WHERE key_id = ? "
        "ORDER BY received_at_ms DESC, call_id DESC",
        (keys[0],),
    ) as rows:
        mine = [tuple(row) for row in await rows.fetchall()]
    since, until = mine[-20][0], mine[10][0]
    where = Filter(key=keys[0], since_ms=since, until_ms=until)
    found, _ = await walk(db, where, 7, 100_000)
    assert found == [call_id for at_ms, call_id in mine if since <= at_ms < until]


async def test_a_page_stops_looking_in_time(db: aiosqlite.Connection) -> None:
    found = await page(db, Filter(tag="none of this name"), 50, look_at=500)
    assert found.rows == []
    assert found.next is not None
    _, pages = await walk(db, Filter(tag="none of this name"), 50, look_at=500)
    assert len(pages) == CALLS // 500 + 1


@pytest.mark.parametrize("limit", [0, -1, callpages.MOST + 1])
async def test_a_page_has_bounds(db: aiosqlite.Connection, limit: int) -> None:
    with pytest.raises(ValueError, match="a page has"):
        await page(db, Filter(), limit)


async def test_sums_say_where_nothing_fits(made: tuple[Path, list[str]]) -> None:
    await catch_up(made[0], at_once=96)
    async with reading(made[0]) as db, db.execute("SELECT MAX(received_at_ms) FROM calls") as rows:
        ((last_ms,),) = await rows.fetchall()
        assert await next_stretch(db, Filter(cache="coalesced"), last_ms) is None
        assert await next_stretch(db, Filter(error="no such error"), last_ms) is None
        assert await next_stretch(db, Filter(tag="any"), last_ms) == (0, last_ms + 1)
        found = await next_stretch(db, Filter(cache="hit"), last_ms)
        assert found is not None
        assert found[1] - found[0] == 900_000


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Filter(), "calls_by_time"),
        (Filter(team="team-07", model="fast"), "calls_by_time"),
        (Filter(key="k"), "calls_by_key"),
        (Filter(key="k", cache="hit"), "calls_by_key"),
        (Filter(failed=True), "calls_failed"),
        (Filter(key="k", status=504), "calls_failed"),
    ],
)
async def test_a_page_is_found_by_an_index(
    made: tuple[Path, list[str]], where: Filter, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, tuple[object, ...]]] = []
    execute = aiosqlite.Connection.execute

    def noting(self: aiosqlite.Connection, sql: str, parameters: tuple[object, ...] = ()) -> object:
        asked.append((sql, parameters))
        return execute(self, sql, parameters)

    monkeypatch.setattr(aiosqlite.Connection, "execute", noting)
    async with reading(made[0]) as db:
        await page(db, where, 50, "9999999999999:")
    with closing(connect(made[0])) as check:
        plans = [plan(check, *one) for one in asked if "FROM calls WHERE" in one[0]]
    assert plans
    for found in plans:
        assert f"INDEX {index} (" in found
        assert "SCAN calls" not in found
        assert "TEMP B-TREE" not in found.partition("SCAN looked_at")[0]


def plan(db: sqlite3.Connection, sql: str, parameters: tuple[object, ...]) -> str:
    rows = db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
    return "; ".join(row[3] for row in rows)
