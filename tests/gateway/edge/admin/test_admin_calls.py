"""What does the operator see of calls?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.gateway.edge.admin.operator import Gateway


async def key(gateway: Gateway, **body: Any) -> Any:
    return await gateway.post("/keys", {"name": "laptop", **body}, status=201)


async def test_calls_are_listed_with_their_keys_name_and_cost(gateway: Gateway) -> None:
    made = await key(gateway, team="red", tags=["a"])
    await gateway.chat(made["secret"])
    assert (await gateway.chat(made["secret"], model="no/model")).status_code == 404
    await gateway.settled()
    refused, answered = (await gateway.get("/calls"))["data"]
    assert (answered["key_name"], answered["key_id"]) == ("laptop", made["id"])
    assert (answered["status"], answered["target"], answered["tags"]) == (200, "echo/echo", ["a"])
    assert answered["prompt_tokens"] > 0
    assert (refused["status"], refused["error"]) == (404, "provider_not_found")
    for query, expected in (
        ({"status": 404}, [refused]),
        ({"error": "provider_not_found"}, [refused]),
        ({"model": "echo"}, [answered]),
        ({"team": "red"}, [refused, answered]),
        ({"team": "blue"}, []),
        ({"key": made["id"]}, [refused, answered]),
    ):
        assert (await gateway.get("/calls", **query))["data"] == expected


async def test_calls_are_listed_in_pages(gateway: Gateway) -> None:
    made = await key(gateway)
    for _ in range(3):
        await gateway.chat(made["secret"])
    await gateway.settled()
    first = await gateway.get("/calls", limit=2)
    last = await gateway.get("/calls", limit=2, after=first["next"])
    assert (len(first["data"]), len(last["data"]), last["next"]) == (2, 1, None)
    assert (await gateway.refused("GET", "/calls", params={"after": "x"}))[0] == "after"


async def test_calls_of_a_period_are_listed(gateway: Gateway) -> None:
    made = await key(gateway)
    await gateway.chat(made["secret"])
    await gateway.settled()
    now = datetime.now(UTC)
    earlier, later = now - timedelta(hours=1), now + timedelta(hours=1)
    for since, until, count in (
        (earlier.isoformat(), later.isoformat(), 1),
        (int(earlier.timestamp() * 1000), int(later.timestamp() * 1000), 1),
        (later.isoformat(), (later + timedelta(hours=1)).isoformat(), 0),
        ((now - timedelta(days=1)).date().isoformat(), earlier.isoformat(), 0),
    ):
        assert len((await gateway.get("/calls", since=since, until=until))["data"]) == count
    local = (now + timedelta(hours=5, minutes=20)).replace(tzinfo=None).isoformat()
    query = {"since": local, "zone": "Asia/Kolkata"}  # ten minutes ago, there
    assert len((await gateway.get("/calls", **query))["data"]) == 1
    assert (await gateway.get("/calls", since=local))["data"] == []


async def test_a_period_is_checked(gateway: Gateway) -> None:
    for query, param in (
        ({"since": "yesterday"}, "since"),
        ({"since": "9" * 5000}, "since"),
        ({"since": str(2**53)}, "since"),
        ({"since": "9999-12-31T23:59:59-12:00"}, "since"),
        ({"since": "2026-11-02", "until": "2026-11-01"}, "until"),
        ({"since": "2026-11-02", "zone": "Mars/Base"}, "zone"),
        ({"since": "1900-01-01"}, "since"),
        ({"since": "9" * 18}, "since"),
    ):
        assert (await gateway.refused("GET", "/calls", params=query))[0] == param


async def test_one_call_is_shown_with_attempts_and_trace(gateway: Gateway) -> None:
    made = await key(gateway)
    call_id = (await gateway.chat(made["secret"])).headers["x-sluice-call-id"]
    await gateway.settled()
    shown = await gateway.get(f"/calls/{call_id}")
    assert (shown["call"]["call_id"], shown["call"]["key_name"]) == (call_id, "laptop")
    (attempt,) = shown["attempts"]
    assert (attempt["target"], attempt["state"], attempt["error"]) == ("echo/echo", "settled", None)
    assert attempt["usage"]["prompt_tokens"] > 0
    assert "routed" in [fact["fact"] for fact in shown["trace"]]


async def test_an_unknown_call_is_not_found(gateway: Gateway) -> None:
    error = await gateway.get("/calls/call_0", expect=404)
    assert "'call_0'" in error["error"]["message"]
