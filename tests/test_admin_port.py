"""Administration on a port of its own, with several processes."""

from __future__ import annotations

import asyncio
import json
import re

import httpx

from tests.conftest import StartGateway
from tests.gateway_process import ECHO, GatewayProcess, table

CONFIG = table("server", workers=2, drain_s=5.0, admin_port=0) + ECHO


def admin_url(gateway: GatewayProcess) -> str:
    found = re.search(r"Administration: port (\d+)", (gateway.home / "output").read_text())
    assert found
    return f"http://127.0.0.1:{found[1]}/admin/v1"


async def test_administration_has_a_port_of_its_own(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(CONFIG)
    own, admin = admin_url(gateway), {"authorization": f"Bearer {gateway.admin_key}"}
    async with httpx.AsyncClient(headers=admin) as client:
        assert (await client.get(f"{own}/keys")).status_code == 200
        assert (await client.get(f"{gateway.url}/admin/v1/keys")).status_code == 404
        elsewhere = own.removesuffix("/admin/v1")
        key = {"authorization": f"Bearer {gateway.key}"}
        assert (await client.get(f"{elsewhere}/v1/models", headers=key)).status_code == 200
        assert (await client.get(f"{elsewhere}/dashboard")).status_code == 200
        assert (await client.get(f"{gateway.url}/dashboard")).status_code == 404
        forged = {"host": elsewhere.removeprefix("http://")}
        answer = await client.get(f"{gateway.url}/admin/v1/keys", headers=forged)
        assert answer.status_code == 404


async def test_calls_of_all_processes_are_live_and_a_drain_ends_that(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(CONFIG)
    admin = {"authorization": f"Bearer {gateway.admin_key}"}
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}
    key = {"authorization": f"Bearer {gateway.key}"}
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", f"{admin_url(gateway)}/calls/live", headers=admin) as live,
    ):
        made = set()
        for _ in range(8):  # connections of their own, so that both workers get some
            async with httpx.AsyncClient() as caller:
                url = f"{gateway.url}/v1/chat/completions"
                answer = await caller.post(url, json=body, headers=key)
                made.add(answer.headers["x-sluice-call-id"])
        seen = set()
        async for line in live.aiter_lines():
            if line.startswith("data: "):
                seen.add(json.loads(line[6:])["call_id"])
            if seen >= made:
                break
        assert seen == made
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", f"{admin_url(gateway)}/calls/live", headers=admin) as live,
    ):
        assert live.status_code == 200
        assert await asyncio.to_thread(gateway.stop) == 0
        assert [line async for line in live.aiter_lines() if line.startswith("data")] == []
