"""What becomes of a request when something behind it is broken?"""

from __future__ import annotations

from contextlib import closing

import pytest

from gateway.health import Health
from gateway.store.sqlite import connect
from tests.gateway.edge.admin.operator import Gateway


async def test_a_fault_of_the_database_is_told_as_one(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(connect(gateway.prepared.path)) as db:
        db.execute("ALTER TABLE teams RENAME COLUMN settings TO gone")
        error = await gateway.get("/teams", expect=503)
        db.execute("ALTER TABLE teams RENAME COLUMN gone TO settings")
    assert error["error"]["code"] == "unavailable"
    assert "settings" not in error["error"]["message"]
    assert "settings" in caplog.text
    assert (await gateway.get("/teams"))["data"] == []


async def test_a_change_that_fails_halfway_changes_nothing(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a", "team": "red"}, status=201)
    with closing(connect(gateway.prepared.path)) as db:
        db.execute("ALTER TABLE audit RENAME TO gone")
        await gateway.patch(f"/keys/{key['id']}", {"name": "b"}, status=503)
        await gateway.delete("/teams/red?revoke_keys=true", status=503)
        db.execute("ALTER TABLE gone RENAME TO audit")
    shown = await gateway.get(f"/keys/{key['id']}")
    assert (shown["name"], shown["state"], shown["team"]) == ("a", "active", "red")
    await gateway.patch(f"/keys/{key['id']}", {"name": "b"})


async def test_a_fault_of_the_program_is_logged_and_not_told(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Health) -> list[str]:
        raise RuntimeError("what nobody should read")

    monkeypatch.setattr(Health, "names", fail)
    error = await gateway.get("/targets", expect=500)
    assert error["error"]["code"] == "internal_error"
    assert "nobody" not in error["error"]["message"]
    assert "what nobody should read" in caplog.text
