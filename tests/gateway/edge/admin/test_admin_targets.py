"""What does the operator see of targets and processes?"""

from __future__ import annotations

import os
from typing import Any

from tests.gateway.edge.admin.operator import Gateway


def by_name(answer: Any) -> Any:
    return {row["name"]: row for row in answer["data"]}


async def test_targets_of_aliases_and_listed_models_are_shown(gateway: Gateway) -> None:
    answer = await gateway.get("/targets")
    assert answer["process"] == (await gateway.get("/status"))["process"]
    found = by_name(answer)["echo/echo"]
    assert (found["state"], found["on"], found["aliases"]) == ("closed", True, ["fast"])
    assert (found["in_flight"], found["attempts"], found["errors"]) == (0, 0, 0)


async def test_a_sick_target_is_shown_and_reset(gateway: Gateway) -> None:
    secret = (await gateway.post("/keys", {"name": "a"}, status=201))["secret"]
    for _ in range(2):  # of three attempts each
        assert (await gateway.chat(secret, model="broken/gone")).status_code == 502
    sick = by_name(await gateway.get("/targets"))["broken/gone"]
    assert (sick["state"], sick["attempts"], sick["errors"]) == ("benched", 5, 5)
    assert sick["benched_until_ms"] > 1_700_000_000_000
    answer = await gateway.post("/targets/broken/gone/reset")
    assert (answer["target"]["state"], answer["target"]["benched_until_ms"]) == ("closed", None)
    assert by_name(await gateway.get("/targets"))["broken/gone"]["errors"] == 0
    (row,) = (await gateway.get("/audit", action="target.reset"))["data"]
    assert (row["object"], row["before"]["state"]) == ("broken/gone", "benched")


async def test_an_unknown_target_is_not_found(gateway: Gateway) -> None:
    error = await gateway.post("/targets/echo/nothing/reset", status=404)
    assert error["error"]["code"] == "not_found"
    assert (await gateway.get("/audit", action="target.reset"))["data"] == []


async def test_the_status_names_the_processes(gateway: Gateway) -> None:
    status = await gateway.get("/status")
    (process,) = status["processes"]
    assert (process["id"], process["pid"]) == (status["process"], os.getpid())
    assert status["database"]["ok"]
    assert status["database"]["size_bytes"] > 10_000
    assert status["redis"] == {"configured": False, "available": False}
    assert (status["draining"], status["in_flight"]) == (False, 0)
    gateway.visits.begin()
    assert (await gateway.get("/status"))["draining"]
