"""Do the accounts agree when hundreds of clients leave at any moment of their calls?"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.callers import MODEL, PRICE, Provider
from tests.fakes.upstream import Upstream
from tests.gateway_process import FAKE_KEY, GatewayProcess, fake_provider, table

CALLS = 500
AT_ONCE = 20
TAKES_S = 0.15


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().getrandbits(32)


async def leave(gateway: GatewayProcess, key: str, number: int, after_s: float) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(gateway.url).port)
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hello"}],
        "user": str(number),
        "max_tokens": 50,
        "stream": bool(number % 2),
        "sluice": {"tags": [str(number)]},
    }
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    await asyncio.sleep(after_s)
    if number % 3:
        writer.transport.abort()
    else:
        writer.close()


async def test_every_call_ends_once_however_its_client_leaves(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)  # noqa: S311
    provider, turns = Provider(takes_s=TAKES_S), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            await leave(gateway, key, number, moments.uniform(0, TAKES_S * 1.3))

    async with Upstream(provider) as upstream:
        config = [
            table("server", drain_s=5.0, log="off"),
            table("retry", base_s=0.005),
            fake_provider(upstream, models=["m"]),
            table(f'model_info."{MODEL}"', price=PRICE),
        ]
        gateway = GatewayProcess(tmp_path, "\n".join(config), env={"FAKE_API_KEY": FAKE_KEY})
        async with gateway:
            key = gateway.key
            await asyncio.gather(*(one(number) for number in range(CALLS)))
            async with httpx.AsyncClient() as client, asyncio.timeout(10):
                metrics = ""
                while "sluice_in_flight 0.0" not in metrics:
                    metrics = (await client.get(f"{gateway.url}/metrics")).text
    calls, charges = gateway.ledger.calls(), gateway.ledger.charges()
    tags = Counter(call["tags"] for call in calls)
    assert max(tags.values()) == 1
    assert {call["status"] for call in calls} == {200, 499}
    assert {charge["state"] for charge in charges} == {"settled"}
    assert {charge["call_id"] for charge in charges} <= {call["call_id"] for call in calls}
    booked = Counter(int(json.loads(charge["tags"])[0]) for charge in charges)
    assert {n: served for n, served in provider.served.items() if booked[n] < served} == {}
    unsent = [charge for charge in charges if charge["error"] == "unclaimed"]
    assert sum(booked.values()) - provider.served.total() >= len(unsent)
    assert {charge["cost_nano_usd"] for charge in unsent} <= {0}
