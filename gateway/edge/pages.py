"""The small routes: models, health, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from gateway.config import Server
from gateway.directory import Directory
from gateway.edge.asgi import credential, from_loopback, new_call_id, send_answer, send_json
from gateway.edge.visits import Visits
from gateway.errors import AdminOnly
from gateway.exchange import JSON
from gateway.keys import VirtualKey
from gateway.metrics import Metrics

Admit = Callable[[str | None], Awaitable[VirtualKey]]
"""A presented secret to its key. Raises `InvalidKey` or `Unavailable`."""


class Models:
    """`GET /v1/models` and `/v1/models/{id}`: exactly what this key may use."""

    def __init__(self, admit: Admit, directory: Directory) -> None:
        self._admit = admit
        self._directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = await self._admit(credential(scope))
        name: str | None = scope["path_params"].get("name")
        if name is None:
            entries = [entry.json() for entry in await self._directory.list(key)]
            data: JSON = {"object": "list", "data": entries}
        else:
            data = (await self._directory.get(name, key)).json()
        await send_json(send, data, _id())


class Live:
    """`GET /health/live`: the process answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, {"status": "live"}, _id())


class Ready:
    """`GET /health/ready`: may this process be given calls? 503 where a check is false."""

    def __init__(self, visits: Visits, checks: dict[str, Callable[[], Awaitable[bool]]]) -> None:
        self._visits = visits
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = {name: await check() for name, check in self._checks.items()}
        found["accepting"] = not self._visits.draining
        ready = all(found.values())
        body = {"status": "ready" if ready else "not ready", "checks": found}
        await send_json(send, body, _id(), 200 if ready else 503)


class MetricsPage:
    """`GET /metrics`: Prometheus text, for the admin key or this machine, unless left open."""

    def __init__(
        self, metrics: Metrics, server: Server, is_admin: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._metrics = metrics
        self._open = server.metrics == "open"
        self._is_admin = is_admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not (self._open or from_loopback(scope)):
            secret = credential(scope)
            if not secret or not await self._is_admin(secret):
                raise AdminOnly("Metrics need the admin key. Send it as `Authorization: Bearer …`.")
        media_type = "text/plain; version=1.0.0; charset=utf-8"
        await send_answer(send, 200, self._metrics.render(), _id(), media_type)


def _id() -> dict[str, str]:
    return {"x-request-id": new_call_id()}
