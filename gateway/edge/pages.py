"""The small routes: models, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from gateway.config import Server
from gateway.edge.asgi import (
    credential,
    from_loopback,
    header,
    new_call_id,
    send_answer,
    send_json,
)
from gateway.edge.visits import Visits
from gateway.errors import AdminOnly
from gateway.exchange import JSON
from gateway.generation import Generations
from gateway.metrics import Metrics


class Models:
    """`GET /v1/models` and `/v1/models/{id}`: exactly what this key may use."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = await self._generations.admit(credential(scope))
        directory = self._generations.current.directory
        name: str | None = scope["path_params"].get("name")
        if name is None:
            data: JSON = {
                "object": "list",
                "data": [entry.json() for entry in await directory.list(key)],
            }
        else:
            data = (await directory.get(name, key)).json()
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
    """`GET /metrics`: for the admin key or this machine, unless left open."""

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
        self._metrics.refresh()
        accept = header(scope, b"accept") or ""
        if self._metrics.shared:  # files to read: other calls go on meanwhile
            text, media_type = await asyncio.to_thread(self._metrics.render, accept)
        else:
            text, media_type = self._metrics.render(accept)
        await send_answer(send, 200, text, _id(), media_type)


def _id() -> dict[str, str]:
    return {"x-request-id": new_call_id()}
