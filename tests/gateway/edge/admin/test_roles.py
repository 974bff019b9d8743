"""The role matrix: which credential opens which route, in which header?

Every route of the application is asked with every credential in every header that can carry one.
What has to come back stands in `TABLE`; a route without a row there is a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from gateway.edge.admin import live
from gateway.edge.admin.attempts import Attempts
from gateway.edge.admin.routes import BASE
from gateway.edge.admin.sessions import COOKIE
from gateway.store.database import administration
from tests.gateway.edge.admin.operator import ADMIN, CONFIG, URL, Gateway, running

HELLO = b'{"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}'

# Who may use a route.
ANYONE, VIRTUAL_KEY, ADMIN_KEY, OPERATOR = "anyone", "virtual key", "admin key", "operator"

TABLE: Mapping[str, str] = {
    "POST /v1/chat/completions": VIRTUAL_KEY,
    "POST /v1/explain": VIRTUAL_KEY,
    "GET /v1/models": VIRTUAL_KEY,
    "GET /v1/models/{name:path}": VIRTUAL_KEY,
    "GET /health/live": ANYONE,
    "GET /health/ready": ANYONE,
    "GET /metrics": ADMIN_KEY,
    "GET /": ANYONE,
    "GET /dashboard": ANYONE,
    "GET /dashboard/files/{path:path}": ANYONE,
    "GET /dashboard/{page}": ANYONE,
    f"POST {BASE}/session": ANYONE,
    f"DELETE {BASE}/session": OPERATOR,
    f"GET {BASE}/me": OPERATOR,
    f"GET {BASE}/keys": OPERATOR,
    f"POST {BASE}/keys": OPERATOR,
    f"GET {BASE}/keys/{{id}}": OPERATOR,
    f"PATCH {BASE}/keys/{{id}}": OPERATOR,
    f"POST {BASE}/keys/{{id}}/rotate": OPERATOR,
    f"POST {BASE}/keys/{{id}}/revoke": OPERATOR,
    f"GET {BASE}/teams": OPERATOR,
    f"POST {BASE}/teams": OPERATOR,
    f"GET {BASE}/teams/{{name:path}}": OPERATOR,
    f"PATCH {BASE}/teams/{{name:path}}": OPERATOR,
    f"DELETE {BASE}/teams/{{name:path}}": OPERATOR,
    f"GET {BASE}/overview": OPERATOR,
    f"GET {BASE}/usage": OPERATOR,
    f"GET {BASE}/cache": OPERATOR,
    f"POST {BASE}/cache/clear": OPERATOR,
    f"GET {BASE}/budgets": OPERATOR,
    f"PUT {BASE}/budgets": OPERATOR,
    f"DELETE {BASE}/budgets/{{id}}": OPERATOR,
    f"GET {BASE}/calls/live": OPERATOR,
    f"GET {BASE}/calls": OPERATOR,
    f"GET {BASE}/calls/{{id}}": OPERATOR,
    f"GET {BASE}/providers": OPERATOR,
    f"GET {BASE}/credentials": OPERATOR,
    f"POST {BASE}/credentials": OPERATOR,
    f"POST {BASE}/credentials/{{id}}/rotate": OPERATOR,
    f"DELETE {BASE}/credentials/{{id}}": OPERATOR,
    f"GET {BASE}/prices": OPERATOR,
    f"POST {BASE}/prices": OPERATOR,
    f"DELETE {BASE}/prices/{{id}}": OPERATOR,
    f"GET {BASE}/config": OPERATOR,
    f"POST {BASE}/config/reload": OPERATOR,
    f"GET {BASE}/targets": OPERATOR,
    f"POST {BASE}/targets/{{name:path}}/reset": OPERATOR,
    f"GET {BASE}/status": OPERATOR,
    f"GET {BASE}/audit": OPERATOR,
    f"GET {BASE}/openapi.json": ANYONE,
}

# 404 and 400 are answers of a route that was entered: there is no such object, the body is empty.
ENTERED = frozenset({200, 201, 400, 404})
CLOSED: Mapping[str, int] = {VIRTUAL_KEY: 401, ADMIN_KEY: 403, OPERATOR: 401}

CREDENTIALS = (
    *("none", "bad", "malformed", "empty", "revoked", "expired", "valid", "over budget"),
    *("other team", "admin", "former admin", "session", "ended session", "forged session"),
)
HEADERS = (
    *("authorization: Bearer", "Authorization: bearer", "authorization: BEARER", "x-api-key"),
    *("API-KEY", "cookie", "authorization: Basic", "authorization", "query"),
)


def expected(who: str, credential: str, header: str) -> frozenset[int]:
    """The statuses that may come back."""
    if who == ANYONE:
        return ENTERED | {401}  # signing in tells a wrong secret apart
    carries_key = header not in ("cookie", "authorization: Basic", "authorization", "query")
    if header == "cookie":
        opens = who == OPERATOR and credential == "session"
    elif not carries_key:
        opens = False
    elif who == VIRTUAL_KEY:
        opens = credential in ("valid", "other team", "over budget")
    else:
        opens = credential == "admin"
    if opens:
        # A key over its budget is admitted; its call is not made.
        return ENTERED | {429} if credential == "over budget" else ENTERED
    known = credential in ("valid", "other team", "over budget")
    if who == OPERATOR and carries_key and known:
        return frozenset({403})
    return frozenset({CLOSED[who]})


def routes(gateway: Gateway) -> Iterator[tuple[str, str]]:
    for route in gateway.app.routes:
        assert isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route.path


@pytest.fixture
async def gateway(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(Attempts, "check", lambda self, address: None)  # we guess a lot here
    monkeypatch.setattr(live, "LIFE_S", 0.0)  # else it would go on
    async with running(tmp_path, CONFIG) as gateway:
        yield gateway


async def credentials(gateway: Gateway) -> dict[str, str]:
    """A secret, or a session's token, for each of `CREDENTIALS`."""
    made = {}
    for name, team in (("valid", "red"), ("other team", "blue"), ("over budget", "red")):
        made[name] = await gateway.post("/keys", {"name": name, "team": team}, status=201)
    for name in ("revoked", "expired"):
        soon_ms = int(time.time() * 1000) + 300
        body = {"name": name} | ({"expires_at_ms": soon_ms} if name == "expired" else {})
        made[name] = await gateway.post("/keys", body, status=201)
    await gateway.post(f"/keys/{made['revoked']['id']}/revoke")
    budget = {"scope": "key", "scope_value": made["over budget"]["id"], "limit_nano_usd": 0}
    await gateway.put("/budgets", budget)
    former = "sk-sluice-admin-of-before"
    async with administration(gateway.prepared) as admin:
        await admin.admin_key.reset(former)
    ended = await session(gateway, former)
    async with administration(gateway.prepared) as admin:
        await admin.admin_key.reset(ADMIN)
    current = await session(gateway, ADMIN)
    return {name: key["secret"] for name, key in made.items()} | {
        "none": "",
        "empty": "",
        "bad": "sk-sluice-00000000-nothing",
        "malformed": "\xff\xfe sk",
        "admin": ADMIN,
        "former admin": former,
        "session": current,
        "ended session": ended,
        "forged session": f"{current[:-4]}0000",
    }


async def session(gateway: Gateway, secret: str) -> str:
    answer = await gateway.client.post(f"{BASE}/session", json={"admin_key": secret})
    token: str = gateway.client.cookies[COOKIE]
    gateway.client.cookies.clear()
    assert answer.status_code == 200
    return token


def carrying(secret: str, credential: str, header: str) -> dict[str, Any]:
    """The request's arguments that present a secret."""
    headers: dict[bytes, bytes] = {b"origin": URL.encode()}
    raw = secret.encode("latin-1")
    if credential == "none":
        return {"headers": headers}
    if header == "cookie":
        headers[b"cookie"] = COOKIE.encode() + b"=" + raw
    elif header == "query":
        return {"headers": headers, "params": {"api_key": secret, "key": secret}}
    else:
        name, _, scheme = header.partition(": ")
        headers[name.encode()] = f"{scheme} ".encode() + raw if scheme else raw
    return {"headers": headers}


async def ask(
    gateway: Gateway, method: str, path: str, arguments: dict[str, Any]
) -> httpx.Response:
    place = path.replace("{name:path}", "nobody").replace("{id}", "nobody")
    body = HELLO if path.startswith("/v1") else b"{}"
    if path == f"{BASE}/session" and method == "POST":
        body = b'{"admin_key": "wrong"}'
    return await gateway.client.request(method, URL + place, content=body, **arguments)


async def test_every_route_has_a_row_and_every_row_a_route(gateway: Gateway) -> None:
    assert {f"{method} {path}" for method, path in routes(gateway)} == set(TABLE)


async def test_each_credential_opens_what_it_is_for_and_nothing_else(gateway: Gateway) -> None:
    secrets = await credentials(gateway)
    assert set(secrets) == set(CREDENTIALS)
    await asyncio.sleep(0.5)  # a revocation is known, and the key that expires has
    wrong = []
    for method, path in routes(gateway):
        for credential, secret in secrets.items():
            for header in HEADERS:
                arguments = carrying(secret, credential, header)
                answer = await ask(gateway, method, path, arguments)
                allowed = expected(TABLE[f"{method} {path}"], credential, header)
                if answer.status_code not in allowed or answer.status_code >= 500:
                    wrong.append((method, path, credential, header, answer.status_code))
    assert wrong == []


async def test_nothing_was_changed_by_who_may_not(gateway: Gateway) -> None:
    """The audit names no change but those of the operator."""
    secrets = await credentials(gateway)
    before = (await gateway.get("/audit"))["data"]
    for method, path in routes(gateway):
        for credential in set(CREDENTIALS) - {"admin", "session"}:
            await ask(gateway, method, path, carrying(secrets[credential], credential, HEADERS[0]))
    assert (await gateway.get("/audit"))["data"] == before


async def test_a_refusal_names_no_secret(gateway: Gateway) -> None:
    secrets = await credentials(gateway)
    for credential in ("bad", "revoked", "valid", "former admin"):
        arguments = carrying(secrets[credential], credential, HEADERS[0])
        answer = await ask(gateway, "GET", f"{BASE}/keys", arguments)
        assert secrets[credential] not in answer.text
