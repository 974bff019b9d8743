"""Who may see the small routes, and what do they say?"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from starlette.types import Message, Scope

from gateway.edge.asgi import credential, from_loopback
from gateway.errors import Unavailable
from tests.builders import Answers, completion
from tests.gateway.edge.served import ADMIN, Edge

OUTSIDE = ("203.0.113.7", 4711)


def scope(path: str, client: tuple[str, int] | None = OUTSIDE, **headers: str) -> Scope:
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": encoded,
        "client": client,
    }


async def answer(edge: Edge, asked: Scope) -> tuple[int, bytes]:
    """Status and body, for a client that cannot be had here: one from elsewhere."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await edge.app()(asked, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


def edge(**settings: Any) -> Edge:
    return Edge(Answers(completion()), **settings)


# ------------------------------------------------------------------------------- metrics


async def test_metrics_are_open_to_this_machine() -> None:
    async with edge() as served:
        found, body = await served.get("/metrics")
    assert found.status == 200
    assert found.content_type == "text/plain"
    assert b"sluice_in_flight 0.0" in body


@pytest.mark.parametrize(
    "headers", [{"x_forwarded_for": "203.0.113.7"}, {"forwarded": "for=203.0.113.7"}]
)
async def test_metrics_are_closed_to_who_comes_through_a_proxy(headers: dict[str, str]) -> None:
    async with edge() as served:
        found, body = await served.get("/metrics", **headers)
    assert found.status == 403
    assert orjson.loads(body)["error"]["code"] == "admin_only"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"authorization": f"Bearer {ADMIN}"}, 200),
        ({"x_api_key": ADMIN}, 200),
        ({"authorization": "Bearer sk-sluice-admin-2"}, 403),
        ({"authorization": f"Basic {ADMIN}"}, 403),
        ({"authorization": "Bearer"}, 403),
        ({"authorization": "Bearer sk-good"}, 403),
    ],
)
async def test_metrics_are_open_to_the_admin_key_from_elsewhere(
    headers: dict[str, str], status: int
) -> None:
    assert (await answer(edge(), scope("/metrics", **headers)))[0] == status


async def test_metrics_may_be_left_open() -> None:
    assert (await answer(edge(metrics="open"), scope("/metrics")))[0] == 200


@pytest.mark.parametrize(
    ("client", "local"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1), True),
        (("10.0.0.1", 1), False),
        (("::ffff:10.0.0.1", 1), False),
        (None, False),
    ],
)
def test_only_loopback_is_this_machine(client: tuple[str, int] | None, local: bool) -> None:
    assert from_loopback(scope("/metrics", client)) is local


# -------------------------------------------------------------------------------- health


async def test_a_process_is_live_whatever_else_it_is() -> None:
    served = edge()
    served.healthy = False
    served.visits.begin()
    status, body = await answer(served, scope("/health/live"))
    assert (status, orjson.loads(body)) == (200, {"status": "live"})


async def test_a_process_is_ready_when_all_checks_are_true() -> None:
    served = edge()
    status, body = await answer(served, scope("/health/ready"))
    assert status == 200
    assert orjson.loads(body) == {
        "status": "ready",
        "checks": {"database": True, "accepting": True},
    }
    served.healthy = False
    status, body = await answer(served, scope("/health/ready"))
    assert status == 503
    assert orjson.loads(body)["checks"] == {"database": False, "accepting": True}


async def test_a_process_that_drains_is_not_ready() -> None:
    served = edge()
    served.visits.begin()
    status, body = await answer(served, scope("/health/ready"))
    assert status == 503
    assert orjson.loads(body)["checks"]["accepting"] is False


# --------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({}, None),
        ({"authorization": "Bearer sk-1"}, "sk-1"),
        ({"authorization": "bearer   sk-1 "}, "sk-1"),
        ({"authorization": "Basic sk-1"}, None),
        ({"authorization": "sk-1"}, None),
        ({"x_api_key": "sk-1"}, "sk-1"),
        ({"api_key": "sk-1"}, "sk-1"),
        ({"authorization": "Bearer sk-1", "x_api_key": "sk-2"}, "sk-1"),
    ],
)
def test_a_key_is_taken_from_where_clients_put_it(
    headers: dict[str, str], secret: str | None
) -> None:
    assert credential(scope("/", **headers)) == secret


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/some/model"])
async def test_models_need_a_key(path: str) -> None:
    async with edge() as served:
        found, body = await served.get(path)
        assert found.status == 401
        assert orjson.loads(body)["error"]["code"] == "invalid_api_key"


async def test_models_are_a_list() -> None:
    async with edge() as served:
        found, body = await served.get("/v1/models", authorization="Bearer sk-good")
    assert (found.status, orjson.loads(body)) == (200, {"object": "list", "data": []})


async def test_a_path_that_is_unavailable_says_when_to_come_back() -> None:
    served = Edge(Answers(Unavailable("x", retry_after_s=1.0)))
    async with served, served.post() as found:
        assert found.status == 503
        assert found.headers["retry-after"] == "1"
