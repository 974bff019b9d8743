"""Does who listens hear of every call that ends, once, and of none twice?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from starlette.types import Message

from gateway.edge.admin import live
from gateway.edge.admin.routes import BASE
from tests.gateway.edge.admin.operator import ADMIN, Gateway, validate

PATH = f"{BASE}/calls/live"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_S", 0.01)


class Listener:
    """One client of the event stream, without a server in between."""

    def __init__(self, gateway: Gateway, **headers: str) -> None:
        self.status: int | None = None
        self.events: list[tuple[int, Any]] = []
        self.comments = 0
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()
        given = {"authorization": f"Bearer {ADMIN}", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in given.items()],
            "client": ("192.0.2.1", 1),
        }
        self.task = asyncio.create_task(gateway.app(scope, self._receive, self._send))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def leave(self) -> None:
        self._gone.set()
        await asyncio.wait_for(self.task, 5)

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        for block in message.get("body", b"").split(b"\n\n"):
            if block.startswith(b":"):
                self.comments += 1
            elif block.startswith(b"id: "):
                number, kind, data = block.split(b"\n")
                assert kind == b"event: call"
                self.events.append((int(number[4:]), orjson.loads(data[6:])))
        self._changed.set()


@asynccontextmanager
async def listening(gateway: Gateway, **headers: str) -> AsyncIterator[Listener]:
    listener = Listener(gateway, **headers)
    await listener.until(lambda: listener.status is not None)
    yield listener
    await listener.leave()


async def test_a_call_that_ends_is_told_once_as_it_is_listed(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a"}, status=201)
    await gateway.chat(key["secret"])
    await gateway.settled()
    async with listening(gateway) as first, listening(gateway) as second:
        assert first.status == 200
        for _ in range(2):
            await gateway.chat(key["secret"])
        await first.until(lambda: len(first.events) == 2)
        await second.until(lambda: len(second.events) == 2)
        listed = (await gateway.get("/calls", limit=2))["data"]
        assert [row for _, row in first.events] == listed[::-1]
        assert first.events == second.events
    document = await gateway.document()
    validate(document, {"$ref": "#/components/schemas/Call"}, first.events[0][1])


async def test_a_listener_that_comes_back_goes_on_where_it_was(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a"}, status=201)
    async with listening(gateway) as listener:
        await gateway.chat(key["secret"])
        await listener.until(lambda: listener.events)
    for _ in range(2):
        await gateway.chat(key["secret"])
    await gateway.settled()
    place = str(listener.events[0][0])
    async with listening(gateway, last_event_id=place) as again:
        await again.until(lambda: len(again.events) == 2)
        assert {row["call_id"] for _, row in again.events}.isdisjoint(
            {listener.events[0][1]["call_id"]}
        )


async def test_a_place_beyond_the_last_is_the_last(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "a"}, status=201)
    async with listening(gateway, last_event_id="9" * 15) as listener:
        await gateway.chat(key["secret"])
        await gateway.chat(key["secret"])
        await listener.until(lambda: listener.events)


async def test_a_silent_stream_is_kept_open(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.02)
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.comments >= 2)


async def test_a_drain_ends_it(gateway: Gateway) -> None:
    listener = Listener(gateway)
    await listener.until(lambda: listener.status is not None)
    gateway.visits.begin()
    await asyncio.wait_for(listener.task, 5)


async def test_nobody_listens_for_ever(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIFE_S", 0.05)
    listener = Listener(gateway)
    await asyncio.wait_for(listener.task, 5)


async def test_listeners_are_limited_and_leave_room(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST", 1)
    async with listening(gateway):
        refused = Listener(gateway)
        await asyncio.wait_for(refused.task, 5)
        assert refused.status == 429
    async with listening(gateway) as again:
        assert again.status == 200


async def test_listeners_who_come_at_once_are_limited_too(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST", 2)
    listeners = [Listener(gateway) for _ in range(6)]
    for listener in listeners:
        await listener.until(lambda listener=listener: listener.status is not None)
    assert sorted(listener.status or 0 for listener in listeners) == [200] * 2 + [429] * 4
    for listener in listeners:
        await listener.leave()


async def test_head_asks_for_no_stream(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {ADMIN}"}
    answer = await asyncio.wait_for(gateway.client.head(PATH, headers=headers), 5)
    assert answer.headers["content-type"].startswith("text/event-stream")
