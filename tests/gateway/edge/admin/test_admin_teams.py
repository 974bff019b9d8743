"""What can the operator do with teams, budgets and the audit?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.edge.admin.operator import Gateway

# ----------------------------------------------------------------------------------- teams


async def test_a_team_is_made_changed_and_listed(gateway: Gateway) -> None:
    made = await gateway.post("/teams", {"name": "red", "settings": {"rpm": 5}}, status=201)
    assert (made["keys"], made["settings"], made["credentials"]) == (0, {"rpm": 5}, {})
    body = {"settings": {"rpm": None, "tpm": 7}, "credentials": {"openai": "lab"}}
    changed = await gateway.patch("/teams/red", body)
    assert (changed["settings"], changed["credentials"]) == ({"tpm": 7}, {"openai": "lab"})
    for name in "ab":
        key = await gateway.post("/keys", {"name": name, "team": "red"}, status=201)
    await gateway.post(f"/keys/{key['id']}/revoke")
    assert (await gateway.get("/teams/red"))["keys"] == 1
    assert [team["name"] for team in (await gateway.get("/teams"))["data"]] == ["red"]


async def test_a_team_is_deleted_with_its_keys_only_if_that_is_said(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a", "team": "red"}, status=201)
    in_use = await gateway.delete("/teams/red", status=409)
    assert (in_use["error"]["code"], key["id"] in in_use["error"]["message"]) == ("conflict", True)
    deleted = await gateway.delete("/teams/red?revoke_keys=true")
    assert deleted == {"name": "red", "deleted": True, "revoked": [key["id"]]}
    assert (await gateway.get(f"/keys/{key['id']}"))["state"] == "revoked"
    assert (await gateway.get("/teams"))["data"] == []
    assert (await gateway.delete("/teams/red", status=404))["error"]["code"] == "not_found"
    assert (await gateway.get("/audit", object="red"))["data"][0]["action"] == "team.delete"


async def test_a_teams_name_may_hold_a_slash(gateway: Gateway) -> None:
    await gateway.post("/teams", {"name": "lab/eu"}, status=201)
    assert (await gateway.get("/teams/lab%2Feu"))["name"] == "lab/eu"


async def test_a_team_is_made_once_and_changed_only_if_there(gateway: Gateway) -> None:
    await gateway.post("/teams", {"name": "red"}, status=201)
    assert (await gateway.post("/teams", {"name": "red"}, status=409))["error"][
        "code"
    ] == "conflict"
    assert (await gateway.patch("/teams/blue", {}, status=404))["error"]["code"] == "not_found"
    assert [team["name"] for team in (await gateway.get("/teams"))["data"]] == ["red"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "red", "keys": 5}, "keys"),
        ({"name": "red", "settings": {"rmp": 1}}, "settings.rmp"),
        ({"name": "red", "credentials": {"openai": "nobody"}}, "credentials.openai"),
    ],
)
async def test_a_team_is_checked(gateway: Gateway, body: Any, param: str) -> None:
    assert (await gateway.refused("POST", "/teams", body))[0] == param
    assert (await gateway.get("/teams"))["data"] == []


# --------------------------------------------------------------------------------- budgets

BUDGET = {"scope": "team", "scope_value": "red", "limit_nano_usd": 5_000_000_000}


async def test_a_budget_is_set_changed_listed_and_removed(gateway: Gateway) -> None:
    made = await gateway.put("/budgets", BUDGET)
    assert (made["name"], made["hard"], made["zone"]) == ("team:red/month", True, "UTC")
    assert (made["spent_nano_usd"], made["reserved_nano_usd"]) == (0, 0)
    assert made["period_start_ms"] < made["period_end_ms"]
    changes = {**BUDGET, "limit_nano_usd": 1, "hard": False, "zone": "Europe/Zurich"}
    changed = await gateway.put("/budgets", changes)
    assert (changed["id"], changed["limit_nano_usd"], changed["hard"]) == (made["id"], 1, False)
    total = await gateway.put("/budgets", {**BUDGET, "period": "total"})
    assert (total["period_start_ms"], total["period_end_ms"]) == (None, None)
    assert {b["id"] for b in (await gateway.get("/budgets"))["data"]} == {made["id"], total["id"]}
    assert await gateway.delete(f"/budgets/{made['id']}") == {"id": made["id"], "deleted": True}
    assert (await gateway.delete(f"/budgets/{made['id']}", status=404))["error"][
        "code"
    ] == "not_found"


async def test_a_budget_holds_when_it_is_answered(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a"}, status=201)
    assert (await gateway.chat(key["secret"])).status_code == 200
    body = {"scope": "key", "scope_value": key["id"], "period": "day", "limit_nano_usd": 0}
    await gateway.put("/budgets", body)
    refused = await gateway.chat(key["secret"], web_search_options={})
    assert refused.json()["error"]["code"] == "cost_unbounded"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"scope": "person"}, "scope"),
        ({"scope": "key"}, "scope_value"),
        ({"period": "year"}, "period"),
        ({"zone": "Mars/Base"}, "zone"),
        ({"limit_nano_usd": -1}, "limit_nano_usd"),
        ({"limit_nano_usd": 0.5}, "limit_nano_usd"),
        ({"limit_usd": 5}, "limit_usd"),
        ({"hard": "yes"}, "hard"),
    ],
)
async def test_a_budget_is_checked(gateway: Gateway, change: Any, param: str) -> None:
    assert (await gateway.refused("PUT", "/budgets", {**BUDGET, **change}))[0] == param
    assert (await gateway.get("/budgets"))["data"] == []


# ----------------------------------------------------------------------------------- audit


async def test_every_change_is_in_the_audit(gateway: Gateway) -> None:
    await gateway.post("/teams", {"name": "red"}, status=201)
    await gateway.patch("/teams/red", {"settings": {"rpm": 5}})
    key = await gateway.post("/keys", {"name": "a"}, status=201)
    await gateway.patch(f"/keys/{key['id']}", {"name": "b"})
    new = await gateway.post(f"/keys/{key['id']}/rotate", {}, status=201)
    await gateway.post(f"/keys/{new['id']}/revoke")
    budget = await gateway.put("/budgets", BUDGET)
    await gateway.delete(f"/budgets/{budget['id']}")
    rows = (await gateway.get("/audit"))["data"]
    assert [(row["action"], row["object"]) for row in reversed(rows)][2:] == [
        ("team.create", "red"),
        ("team.update", "red"),
        ("key.create", key["id"]),
        ("key.update", key["id"]),
        ("key.rotate", key["id"]),
        ("key.create", new["id"]),
        ("key.revoke", new["id"]),
        ("budget.create", budget["id"]),
        ("budget.delete", budget["id"]),
    ]
    assert {row["via"] for row in rows[:-2]} == {"api"}
    assert {row["via"] for row in rows[-2:]} == {"start"}
    assert key["secret"] not in str(rows)


async def test_the_audit_is_filtered_and_paged(gateway: Gateway) -> None:
    for name in "abc":
        await gateway.post("/teams", {"name": name}, status=201)
    first = await gateway.get("/audit", limit=2, action="team.create")
    assert [row["object"] for row in first["data"]] == ["c", "b"]
    last = await gateway.get("/audit", limit=2, action="team.create", after=first["next"])
    assert ([row["object"] for row in last["data"]], last["next"]) == (["a"], None)
    assert [row["object"] for row in (await gateway.get("/audit", object="b"))["data"]] == ["b"]
    assert (await gateway.refused("GET", "/audit", params={"after": "x"}))[0] == "after"
