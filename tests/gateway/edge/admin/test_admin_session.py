"""How does a person sign in, and what does a browser's session allow?"""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from gateway.edge.admin.attempts import MOST
from gateway.edge.admin.routes import BASE
from gateway.store.database import administration
from tests.gateway.edge.admin.operator import ADMIN, URL, Gateway

OWN = {"origin": URL}
KEYS = f"{BASE}/keys"


async def sign_in(gateway: Gateway, secret: str = ADMIN, **headers: str) -> httpx.Response:
    body = {"admin_key": secret}
    return await gateway.client.post(f"{BASE}/session", json=body, headers=headers)


def cookie_of(answer: httpx.Response) -> Any:
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return cookie


async def test_a_session_opens_what_the_admin_key_opens(gateway: Gateway) -> None:
    answer = await sign_in(gateway)
    data = await gateway.checked("POST", "/session", answer)
    assert data["expires_at_ms"] > 0
    me = await gateway.client.get(f"{BASE}/me")  # the client keeps the cookie
    assert (await gateway.checked("GET", "/me", me))["via"] == "session"
    made = await gateway.client.post(KEYS, json={"name": "a"}, headers=OWN)
    assert made.status_code == 201
    (row,) = (await gateway.get("/audit", object=made.json()["id"]))["data"]
    assert row["via"] == "dashboard"
    assert (await gateway.get("/me"))["via"] == "key"


async def test_the_cookie_is_for_this_site_and_not_for_scripts(gateway: Gateway) -> None:
    cookie = cookie_of(await sign_in(gateway))
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert cookie["max-age"] == str(12 * 3600)
    assert cookie["secure"] == ""
    assert ADMIN not in cookie.value
    over_tls = cookie_of(await sign_in(gateway, **{"x-forwarded-proto": "https"}))
    assert over_tls["secure"] is True


async def test_signing_out_removes_the_cookie(gateway: Gateway) -> None:
    await sign_in(gateway)
    answer = await gateway.client.delete(f"{BASE}/session", headers=OWN)
    await gateway.checked("DELETE", "/session", answer)
    cookie = cookie_of(answer)
    assert (cookie.value, cookie["max-age"]) == ("", "0")
    assert (await gateway.client.get(KEYS)).status_code == 401


async def test_a_session_ends_with_the_admin_key(gateway: Gateway) -> None:
    await sign_in(gateway)
    async with administration(gateway.prepared) as admin:
        await admin.admin_key.reset()
    assert (await gateway.client.get(KEYS)).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": URL}, 201),
        ({"origin": URL.upper().replace("HTTP", "http")}, 201),
        ({"origin": "http://gateway.test:8080"}, 403),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"{URL}.evil.test"}, 403),
        ({"origin": "http://evil.test", "sec-fetch-site": "same-origin"}, 403),
        ({"sec-fetch-site": "same-origin"}, 201),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
async def test_a_change_in_a_session_comes_from_a_page_of_our_own(
    gateway: Gateway, headers: dict[str, str], status: int
) -> None:
    await sign_in(gateway)
    count = len((await gateway.get("/keys"))["data"])
    answer = await gateway.client.post(KEYS, json={"name": "a"}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["code"] == "foreign_origin"
    assert len((await gateway.get("/keys"))["data"]) == count + (status == 201)


async def test_nobody_is_signed_in_by_a_foreign_page(gateway: Gateway) -> None:
    answer = await sign_in(gateway, origin="http://evil.test")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert (await sign_in(gateway, origin=URL)).status_code == 200


async def test_a_program_with_the_admin_key_needs_no_origin(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {ADMIN}", "origin": "http://elsewhere.test"}
    answer = await gateway.client.post(KEYS, json={"name": "a"}, headers=headers)
    assert answer.status_code == 201


async def test_a_proxys_own_basic_authentication_is_not_in_the_way(gateway: Gateway) -> None:
    await sign_in(gateway)
    basic = {"authorization": "Basic cHJveHk6eA=="}
    assert (await gateway.client.get(KEYS, headers=basic)).status_code == 200


async def test_guesses_are_limited_by_address(gateway: Gateway) -> None:
    for number in range(MOST):
        assert (await sign_in(gateway, f"guess {number}")).status_code == 401
    refused = await sign_in(gateway)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    admin = {"authorization": f"Bearer {ADMIN}"}
    assert (await gateway.client.get(KEYS, headers=admin)).status_code == 429
    async with gateway.client_from("192.0.2.2") as other:
        assert (await other.get(KEYS, headers=admin)).status_code == 200


async def test_guesses_with_headers_count_and_virtual_keys_do_not(gateway: Gateway) -> None:
    secret = (await gateway.post("/keys", {"name": "a"}, status=201))["secret"]
    for _ in range(MOST + 1):
        answer = await gateway.client.get(KEYS, headers={"x-api-key": secret})
        assert answer.status_code == 403
    for number in range(MOST):
        answer = await gateway.client.get(KEYS, headers={"x-api-key": f"guess {number}"})
        assert answer.status_code == 401
    assert (await sign_in(gateway)).status_code == 429


async def test_who_is_signed_in_goes_on_while_others_guess(gateway: Gateway) -> None:
    await sign_in(gateway)
    for number in range(MOST):
        await sign_in(gateway, f"guess {number}")
    assert (await gateway.client.get(KEYS)).status_code == 200


async def test_no_answer_may_be_kept_or_framed(gateway: Gateway) -> None:
    admin = {"authorization": f"Bearer {ADMIN}"}
    answers = [
        await gateway.client.get(KEYS, headers=admin),
        await gateway.client.get(KEYS),
        await gateway.client.get(f"{BASE}/openapi.json"),
        await gateway.client.get(f"{KEYS}/nobody", headers=admin),
        await sign_in(gateway),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 404, 200]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-request-id"].startswith("call_")
        assert "access-control-allow-origin" not in answer.headers


async def test_head_is_answered_like_get(gateway: Gateway) -> None:
    admin = {"authorization": f"Bearer {ADMIN}"}
    assert (await gateway.client.head(KEYS, headers=admin)).status_code == 200
    assert (await gateway.client.head(KEYS)).status_code == 401


async def test_other_methods_and_paths_have_our_errors(gateway: Gateway) -> None:
    admin = {"authorization": f"Bearer {ADMIN}"}
    wrong = await gateway.client.put(KEYS, headers=admin)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    missing = await gateway.client.get(f"{BASE}/nothing", headers=admin)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "path_not_found")
