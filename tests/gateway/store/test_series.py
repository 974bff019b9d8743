"""Do series and overviews say what adding up by hand says?"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from bench.ledger import make
from gateway.periods import zone
from gateway.store.reports import Filter, Reports
from gateway.store.rollup.roll import catch_up
from gateway.store.sqlite import reading

BERLIN, INDIA = zone("Europe/Berlin"), zone("Asia/Kolkata")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series") / "ledger.db"
    make(path, calls=1_500, days=5, keys=12)
    return path


@pytest.fixture
async def db(made: Path) -> AsyncIterator[aiosqlite.Connection]:
    await catch_up(made, at_once=96)
    async with reading(made) as db:
        yield db


@pytest.fixture
def reports(db: aiosqlite.Connection) -> Reports:
    return Reports(db)


async def rows(db: aiosqlite.Connection, query: str) -> list[Any]:
    async with db.execute(query) as found:
        return [tuple(row) for row in await found.fetchall()]


async def test_spend_by_day_is_stacked_by_the_largest_and_the_others(
    db: aiosqlite.Connection, reports: Reports
) -> None:
    found = await reports.series("cost_nano_usd", "model", zone=INDIA, top=2)
    by_day: dict[str, Counter[str]] = {}
    for at_ms, model, cost in await rows(
        db, "SELECT opened_at_ms, asked_model, cost_nano_usd FROM charges"
    ):
        day = datetime.fromtimestamp(at_ms / 1000, INDIA).date().isoformat()
        by_day.setdefault(day, Counter())[model] += cost
    whole = sum(by_day.values(), Counter())
    (first, second), others = [name for name, _ in whole.most_common(2)], found.lines[-1]
    assert [line.group for line in found.lines] == [(first,), (second,), ()]
    assert [line.other for line in found.lines] == [False, False, True]
    for place, day in enumerate(found.labels):
        there = by_day.get(day, Counter())
        assert found.lines[0].values[place] == there[first]
        assert found.lines[1].values[place] == there[second]
        assert others.values[place] == sum(there.values()) - there[first] - there[second]
    assert sorted(by_day) == found.labels


async def test_a_series_without_groups_is_one_line(
    db: aiosqlite.Connection, reports: Reports
) -> None:
    found = await reports.series("calls", where=Filter(team="team-07"), bins="hour", zone=BERLIN)
    (line,) = found.lines
    ((count,),) = await rows(db, "SELECT COUNT(*) FROM calls WHERE team = 'team-07'")
    assert sum(line.values) == count  # type: ignore[arg-type]
    assert not line.other
    assert len(found.labels) == len(found.starts_ms) == len(line.values)


async def test_tags_have_no_line_of_others(db: aiosqlite.Connection, reports: Reports) -> None:
    found = await reports.series("attempts", "tag")
    wanted = await rows(
        db,
        "SELECT value, COUNT(*) FROM charges, json_each(tags) GROUP BY 1 ORDER BY 2 DESC, 1",
    )
    assert [(line.group[0], sum(line.values)) for line in found.lines] == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", ["hits", "saved_nano_usd", "errors", "tokens"])
@pytest.mark.parametrize("by", ["key", "team", "target", None])
async def test_lines_add_up_to_the_overview(reports: Reports, measure: str, by: str | None) -> None:
    overview = await reports.overview()
    expected = {
        "hits": overview.hits + overview.coalesced,
        "saved_nano_usd": overview.saved_nano_usd,
        "errors": overview.errors,
        "tokens": overview.tokens["prompt_tokens"] + overview.tokens["completion_tokens"],
    }
    found = await reports.series(measure, by, top=3)
    assert sum(sum(line.values) for line in found.lines) == expected[measure]  # type: ignore[arg-type]


async def test_an_overview_is_what_the_rows_come_to(
    db: aiosqlite.Connection, reports: Reports
) -> None:
    found = await reports.overview()
    ((calls, errors, hits, saved),) = await rows(
        db,
        "SELECT COUNT(*), COUNT(error), SUM(cache = 'hit'), SUM(saved_nano_usd) FROM calls",
    )
    assert (found.calls, found.errors, found.hits) == (calls, errors, hits)
    assert found.saved_nano_usd == saved
    ((attempts, cost),) = await rows(db, "SELECT COUNT(*), SUM(cost_nano_usd) FROM charges")
    assert (found.attempts, found.cost_nano_usd) == (attempts, cost)
    took = [
        ms
        for (ms,) in await rows(db, "SELECT duration_ms FROM calls WHERE error IS NULL ORDER BY 1")
    ]
    assert found.duration.p50_ms == pytest.approx(took[len(took) // 2], rel=0.2)
    assert found.duration.p95_ms == pytest.approx(took[len(took) * 95 // 100], rel=0.2)
    assert found.overhead.p50_ms is not None
    assert 0.2 < found.overhead.p50_ms < 0.8


async def test_errors_and_targets_are_counted(db: aiosqlite.Connection, reports: Reports) -> None:
    errors = [(row.status, row.error, row.calls) for row in await reports.errors()]
    assert sorted(errors) == await rows(
        db, "SELECT status, error, COUNT(*) FROM calls WHERE error IS NOT NULL GROUP BY 1, 2"
    )
    assert [count for *_, count in errors] == sorted((count for *_, count in errors), reverse=True)
    targets = [(t.provider, t.model, t.attempts, t.errors) for t in await reports.targets()]
    assert targets == await rows(
        db,
        "SELECT provider, model, COUNT(*), COUNT(error) FROM charges GROUP BY 1, 2 ORDER BY 1, 2",
    )
    slow = {t.model: t.duration.p50_ms or 0 for t in await reports.targets()}
    assert slow["o-large"] > slow["gpt-mini"] if "o-large" in slow else slow["gpt-mini"] > 0


async def test_latencies_have_four_lines(reports: Reports) -> None:
    found = await reports.latencies(zone=BERLIN)
    assert [line.group for line in found.lines] == [
        ("duration", "p50"),
        ("duration", "p95"),
        ("first_event", "p50"),
        ("first_event", "p95"),
    ]
    for half, most in zip(found.lines[0].values, found.lines[1].values, strict=True):
        assert half is not None
        assert most is not None
        assert half < most


async def test_savings_are_of_who_had_a_cache(db: aiosqlite.Connection, reports: Reports) -> None:
    found = await reports.savings("model")
    wanted = await rows(
        db,
        "SELECT asked_model, SUM(cache = 'hit'), COALESCE(SUM(saved_nano_usd), 0) FROM calls "
        "WHERE cache IS NOT NULL AND error IS NOT 'model_not_found' GROUP BY 1",
    )
    assert sorted((r.group, r.hits, r.saved_nano_usd) for r in found if r.group) == wanted
    assert [r.saved_nano_usd for r in found] == sorted(r.saved_nano_usd for r in found)[::-1]


@pytest.mark.parametrize(
    ("measure", "by", "where", "fault"),
    [
        ("money", None, Filter(), KeyError),
        ("calls", "provider", Filter(), KeyError),
        ("calls", None, Filter(provider="openai"), ValueError),
        ("calls", None, Filter(min_cost_nano_usd=1), ValueError),
    ],
)
async def test_what_cannot_be_told_is_refused(
    reports: Reports, measure: str, by: str | None, where: Filter, fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        await reports.series(measure, by, where)


async def test_too_many_bins_are_refused(reports: Reports) -> None:
    with pytest.raises(ValueError, match="more than"):
        await reports.series("calls", where=Filter(since_ms=0), bins="hour")


async def test_an_empty_ledger_has_empty_series(path: Path) -> None:
    async with reading(path) as db:
        reports = Reports(db)
        assert (await reports.series("cost_nano_usd", "model")).labels == []
        assert (await reports.overview()).duration.p50_ms is None
        assert await reports.last_used() == {}
        assert await reports.usage(["day"]) == []
