"""What can the operator do with keys?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.edge.admin.operator import CONFIG, Gateway, running

LATER_MS = int(time.time() * 1000) + 86_400_000


async def test_rates_that_workers_would_count_each_for_themselves_are_refused(
    tmp_path: Path,
) -> None:
    """The next start would be refused, with two workers and without Redis."""
    several = CONFIG.replace("[server]", "[server]\nworkers = 2")
    async with running(tmp_path, several) as gateway:
        key = await gateway.post("/keys", {"name": "a", "settings": {"rpm": 0}}, status=201)
        team = await gateway.post("/teams", {"name": "t"}, status=201)
        limited = {"settings": {"rpm": 5}}
        for method, path, body in (
            ("POST", "/keys", {"name": "b", **limited}),
            ("PATCH", f"/keys/{key['id']}", limited),
            ("POST", "/teams", {"name": "u", **limited}),
            ("PATCH", f"/teams/{team['name']}", limited),
        ):
            param, message = await gateway.refused(method, path, body)
            assert (param, "redis.url" in message) == ("settings.rpm", True)


async def test_a_new_key_works_at_once(gateway: Gateway) -> None:
    body = {"name": "laptop", "team": "red", "tags": ["a"], "settings": {"rpm": 600}}
    made = await gateway.post("/keys", body, status=201)
    assert made["secret"].startswith(made["prefix"])
    assert (made["models"], made["state"], made["last_used_ms"]) == (["*"], "active", None)
    assert (await gateway.chat(made["secret"])).status_code == 200
    shown = await gateway.get(f"/keys/{made['id']}")
    assert shown["settings"] == {"rpm": 600}
    assert "secret" not in shown


async def test_a_keys_last_use_is_told(gateway: Gateway) -> None:
    made = await gateway.post("/keys", {"name": "a"}, status=201)
    began_ms = int(time.time() * 1000)
    await gateway.chat(made["secret"])
    await gateway.settled()
    assert (await gateway.get(f"/keys/{made['id']}"))["last_used_ms"] >= began_ms
    listed = {key["id"]: key for key in (await gateway.get("/keys"))["data"]}
    assert listed[made["id"]]["last_used_ms"] >= began_ms


async def test_keys_are_listed_in_pages_and_by_team_and_state(gateway: Gateway) -> None:
    ids = [
        (await gateway.post("/keys", {"name": n, "team": t}, status=201))["id"]
        for n, t in (("a", "red"), ("b", "blue"), ("c", "red"))
    ]
    await gateway.post(f"/keys/{ids[0]}/revoke")
    seen, after = [], {}
    while after is not None:
        page = await gateway.get("/keys", limit=2, **after)
        seen += [key["id"] for key in page["data"]]
        after = {"after": page["next"]} if page["next"] else None
    assert len(seen) == len(set(seen)) == 4  # with the first key of all
    assert {*seen} >= {*ids}
    red = [key["name"] for key in (await gateway.get("/keys", team="red"))["data"]]
    assert sorted(red) == ["a", "c"]
    revoked = (await gateway.get("/keys", state="revoked"))["data"]
    assert [key["id"] for key in revoked] == [ids[0]]
    assert ids[0] not in [key["id"] for key in (await gateway.get("/keys", state="active"))["data"]]
    assert (await gateway.get("/keys", state="expired"))["data"] == []


async def test_a_key_is_changed_field_by_field(gateway: Gateway) -> None:
    body = {"name": "a", "settings": {"rpm": 5, "tpm": 6}, "expires_at_ms": LATER_MS}
    made = await gateway.post("/keys", body, status=201)
    changes = {
        "name": "b",
        "team": "new",
        "models": ["fast"],
        "settings": {"rpm": None, "cache": True},
    }
    changed = await gateway.patch(f"/keys/{made['id']}", changes)
    assert (changed["name"], changed["team"], changed["models"]) == ("b", "new", ["fast"])
    assert changed["settings"] == {"tpm": 6, "cache": True}
    assert changed["expires_at_ms"] == LATER_MS
    assert (await gateway.patch(f"/keys/{made['id']}", {"expires_at_ms": None}))[
        "expires_at_ms"
    ] is None
    assert (await gateway.patch(f"/keys/{made['id']}", {"team": None}))["team"] is None


@pytest.mark.parametrize(("body", "old"), [(None, "revoked"), ({"grace_s": 60}, "active")])
async def test_a_key_is_rotated(gateway: Gateway, body: Any, old: str) -> None:
    made = await gateway.post("/keys", {"name": "a"}, status=201)
    new = await gateway.post(f"/keys/{made['id']}/rotate", body, status=201)
    assert new["rotated_from"] == made["id"]
    before = await gateway.get(f"/keys/{made['id']}")
    assert before["state"] == old
    assert (before["expires_at_ms"] is None) == (body is None)
    assert (await gateway.chat(new["secret"])).status_code == 200


async def test_a_revoked_key_opens_nothing_and_cannot_be_rotated(gateway: Gateway) -> None:
    made = await gateway.post("/keys", {"name": "a"}, status=201)
    revoked = await gateway.post(f"/keys/{made['id']}/revoke")
    assert revoked["state"] == "revoked"
    assert await gateway.post(f"/keys/{made['id']}/revoke") == revoked
    conflict = await gateway.post(f"/keys/{made['id']}/rotate", {}, status=409)
    assert conflict["error"]["code"] == "conflict"
    await gateway.refreshed()
    assert (await gateway.chat(made["secret"])).status_code == 401


async def test_an_unknown_key_is_not_found(gateway: Gateway) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke")):
        error = await gateway.ask(method, f"/keys/nobody{path}", {}, 404)
        assert error["error"]["code"] == "not_found"
        assert "'nobody'" in error["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"name": "a", "nmae": "b"}, "nmae"),
        ({"name": "a", "secret": "sk-mine"}, "secret"),
        ({"name": "a", "models": []}, "models"),
        ({"name": "a", "models": "*"}, "models"),
        ({"name": "a", "models": [5]}, "models[0]"),
        ({"name": "a", "tags": ["x" * 65]}, "tags[0]"),
        ({"name": "a", "tags": ["x"] * 17}, "tags"),
        ({"name": "a", "expires_at_ms": 1}, "expires_at_ms"),
        ({"name": "a", "expires_at_ms": True}, "expires_at_ms"),
        ({"name": "a", "expires_at_ms": "2030-01-01"}, "expires_at_ms"),
        ({"name": "a", "settings": {"rmp": 5}}, "settings.rmp"),
        ({"name": "a", "settings": {"rpm": -1}}, "settings.rpm"),
        ({"name": "a", "settings": {"rpm": "5"}}, "settings.rpm"),
        ({"name": "a", "settings": {"rpm": None}}, "settings.rpm"),
        ({"name": "a", "settings": {"context": "newest"}}, "settings.context"),
        ({"name": "a", "credentials": {"nobody": "x"}}, "credentials.nobody"),
        ({"name": "a", "credentials": {"openai": "x"}}, "credentials.openai"),
        ([], None),
    ],
)
async def test_a_body_is_checked(gateway: Gateway, body: Any, param: str | None) -> None:
    count = len((await gateway.get("/keys"))["data"])
    assert (await gateway.refused("POST", "/keys", body))[0] == param
    assert len((await gateway.get("/keys"))["data"]) == count


async def test_a_body_is_read_strictly(gateway: Gateway) -> None:
    for raw in (b'{"name": "a", "name": "b"}', b"{", b'{"name": NaN}'):
        await gateway.refused("POST", "/keys", raw)
    large = b'{"name": "' + b"a" * 2_000_000 + b'"}'
    assert (await gateway.post("/keys", large, status=413))["error"]["code"] == "body_too_large"


async def test_a_query_is_checked(gateway: Gateway) -> None:
    for query, param in (
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"state": "gone"}, "state"),
        ({"after": "x"}, "after"),
        ({"page": "2"}, "page"),
    ):
        assert (await gateway.refused("GET", "/keys", params=query))[0] == param


async def test_a_key_is_bound_to_a_credential_that_is_there(gateway: Gateway) -> None:
    body = {"name": "a", "credentials": {"openai": "lab"}}
    assert (await gateway.post("/keys", body, status=201))["credentials"] == {"openai": "lab"}
