"""What does the operator learn about cost, use and the cache?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.edge.admin.operator import CONFIG, Gateway, running

DAY_MS = 86_400_000
PRICE = """
[model_info."echo/echo"]
price = { input_cost_per_token = 1e-6, output_cost_per_token = 2e-6 }
"""


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """One whose calls cost something."""
    async with running(tmp_path, CONFIG + PRICE) as gateway:
        yield gateway


async def used(gateway: Gateway) -> dict[str, Any]:
    """Two keys of one team and one of none, with two, one and one calls; and a failure."""
    keys = {}
    for name, team, calls in (("a", "red", 2), ("b", "red", 1), ("c", None, 1)):
        body = {"name": name, "team": team, "tags": [f"tag-{name}"]}
        keys[name] = await gateway.post("/keys", body, status=201)
        for _ in range(calls):
            assert (await gateway.chat(keys[name]["secret"])).status_code == 200
    assert (await gateway.chat(keys["a"]["secret"], model="no/model")).status_code == 404
    await gateway.settled()
    return keys


# ------------------------------------------------------------------------------------ usage


async def test_usage_is_grouped_as_asked(gateway: Gateway) -> None:
    keys = await used(gateway)
    (total,) = (await gateway.get("/usage"))["data"]
    assert (total["group"], total["calls"], total["attempts"]) == ({}, 4, 4)
    assert total["cost_nano_usd"] > 0
    by_key = {r["group"]["key_name"]: r for r in (await gateway.get("/usage", by="key"))["data"]}
    assert {name: row["calls"] for name, row in by_key.items()} == {"a": 2, "b": 1, "c": 1}
    assert by_key["a"]["group"]["key"] == keys["a"]["id"]
    assert sum(row["cost_nano_usd"] for row in by_key.values()) == total["cost_nano_usd"]
    rows = (await gateway.get("/usage", by="team,provider"))["data"]
    assert [(r["group"]["team"], r["group"]["provider"], r["calls"]) for r in rows] == [
        (None, "echo", 1),
        ("red", "echo", 3),
    ]
    tags = (await gateway.get("/usage", by=["tag"], team="red"))["data"]
    assert [(row["group"]["tag"], row["calls"]) for row in tags] == [("tag-a", 2), ("tag-b", 1)]


async def test_days_are_those_of_a_zone(gateway: Gateway) -> None:
    await used(gateway)
    since = int(time.time() * 1000) - 2 * DAY_MS
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):  # 25 hours apart
        rows = (await gateway.get("/usage", by="day", since=since, zone=zone))["data"]
        days = {row["group"]["day"] for row in rows}
        assert sum(row["calls"] for row in rows) == 4
        if zone == "Pacific/Kiritimati":
            far_east = days
    assert days.isdisjoint(far_east)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"by": "colour"}, "by"),
        ({"by": "hour"}, "since"),
        ({"by": "hour", "since": "2020-01-01"}, "since"),
        ({"by": "day", "since": "2000-01-01"}, "since"),
        ({"zone": "Mars/Base", "by": "key"}, "zone"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_question_about_usage_is_checked(
    gateway: Gateway, query: dict[str, str], param: str
) -> None:
    assert (await gateway.refused("GET", "/usage", params=query))[0] == param


# --------------------------------------------------------------------------------- overview


async def test_the_overview_says_what_it_cost_and_who_spent_it(gateway: Gateway) -> None:
    await used(gateway)
    found = await gateway.get("/overview")
    totals = found["totals"]
    assert (totals["calls"], totals["errors"]) == (5, 1)
    assert totals["cost_nano_usd"] > 0
    assert totals["duration_ms"]["p50"] is not None
    assert (found["previous"]["calls"], found["previous"]["duration_ms"]["p50"]) == (0, None)
    assert found["errors"] == [{"kind": "provider_not_found", "status": 404, "calls": 1}]
    assert [(row["name"], row["calls"]) for row in found["models"]] == [("echo", 4)]
    assert (found["keys"][0]["name"], found["keys"][0]["calls"]) == ("a", 2)
    assert {(row["id"], row["name"]) for row in found["teams"]} == {("red", "red"), (None, "none")}


@pytest.mark.parametrize("by", ["model", "team", "key", "provider"])
@pytest.mark.parametrize("step", ["hour", "day"])
async def test_series_come_to_the_totals(gateway: Gateway, by: str, step: str) -> None:
    await used(gateway)
    since = int(time.time() * 1000) - 2 * DAY_MS
    found = await gateway.get("/overview", by=by, step=step, since=since)
    series, totals = found["series"], found["totals"]
    length = len(series["times_ms"])
    assert length == len(series["labels"]) >= 2
    whole = [row[m] for row in series["groups"] for m in ("cost_nano_usd", "calls", "tokens")]
    parts = (*whole, series["errors"], series["p50_ms"], series["cache_hits"])
    assert {len(values) for values in parts} == {length}
    cost = sum(sum(row["cost_nano_usd"]) for row in series["groups"])
    calls = sum(sum(row["calls"]) for row in series["groups"])
    assert cost == totals["cost_nano_usd"]
    assert calls == (4 if by == "provider" else totals["calls"])
    assert sum(series["calls"]) == totals["calls"] == 5  # one of them reached no provider
    assert sum(series["errors"]) == 1
    if by == "key":
        assert series["groups"][0]["name"] == "a"
        assert series["groups"][0]["id"] != "a"


async def test_the_smallest_groups_are_shown_together(gateway: Gateway) -> None:
    for number in range(10):
        key = await gateway.post("/keys", {"name": f"key {number}"}, status=201)
        for _ in range(1 if number else 2):
            await gateway.chat(key["secret"])
    await gateway.settled()
    found = await gateway.get("/overview", by="key")
    groups = found["series"]["groups"]
    assert len(groups) == 9
    assert groups[0]["name"] == "key 0"
    assert (groups[8]["name"], groups[8]["other"], groups[8]["id"]) == ("other", True, None)
    assert sum(groups[8]["calls"]) == 2
    total = sum(sum(row["cost_nano_usd"]) for row in groups)
    assert total == found["totals"]["cost_nano_usd"]


async def test_an_overview_of_nothing_is_empty(gateway: Gateway) -> None:
    found = await gateway.get("/overview")
    assert (found["totals"]["calls"], found["series"]["groups"], found["keys"]) == (0, [], [])
    assert await gateway.refused("GET", "/overview", params={"by": "colour"})
    param, _ = await gateway.refused("GET", "/overview", params={"since": "2999-01-01"})
    assert param == "since"
    query = {"since": "2001-01-01", "step": "hour"}
    assert (await gateway.refused("GET", "/overview", params=query))[0] == "step"


async def test_an_overview_can_be_narrowed(gateway: Gateway) -> None:
    keys = await used(gateway)
    found = await gateway.get("/overview", key=keys["b"]["id"])
    assert (found["totals"]["calls"], [row["name"] for row in found["keys"]]) == (1, ["b"])
    assert (await gateway.get("/overview", team="red"))["totals"]["calls"] == 4


# ------------------------------------------------------------------------------------ cache


async def test_the_cache_is_counted_and_cleared(gateway: Gateway) -> None:
    body = {"name": "a", "team": "red", "settings": {"cache": True}}
    key = await gateway.post("/keys", body, status=201)
    statuses = [(await gateway.chat(key["secret"])).headers["x-sluice-cache"] for _ in range(2)]
    assert statuses == ["miss", "hit"]
    cleared = await gateway.post("/cache/clear", {"team": "red"})
    assert cleared["scope"] == {"team": "red", "key": None, "namespace": None, "model": None}
    await gateway.refreshed()
    assert (await gateway.chat(key["secret"])).headers["x-sluice-cache"] == "miss"
    (row,) = (await gateway.get("/audit", action="cache.clear"))["data"]
    assert row["object"] == "team:red"


async def test_the_statistics_of_the_cache_are_grouped(gateway: Gateway) -> None:
    found = await gateway.get("/cache", by="team,day")
    assert (found["store"], found["data"]) == ("memory", [])
    assert (found["totals"]["hits"], found["totals"]["hit_rate"]) == (0, None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"team": "nobody"}, "team"),
        ({"team": "red", "key": "k"}, "key"),
        ({"owner": "red"}, "owner"),
        ({"model": ""}, "model"),
    ],
)
async def test_what_is_to_be_cleared_is_checked(gateway: Gateway, body: Any, param: str) -> None:
    assert (await gateway.refused("POST", "/cache/clear", body))[0] == param
    assert (await gateway.get("/audit", action="cache.clear"))["data"] == []


async def test_a_key_of_a_team_shares_its_teams_entries(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a", "team": "red"}, status=201)
    param, message = await gateway.refused("POST", "/cache/clear", {"key": key["id"]})
    assert (param, "'red'" in message) == ("key", True)
    assert (await gateway.post("/cache/clear", {"key": "nobody"}, status=404))["error"]
    own = await gateway.post("/keys", {"name": "b"}, status=201)
    await gateway.post("/cache/clear", {"key": own["id"]})
