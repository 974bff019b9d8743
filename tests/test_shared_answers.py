"""The cache before a real provider: one call for all who ask the same, and nobody pays twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, Step, Upstream, json_answer, sse_answer
from tests.gateway_process import GatewayProcess, fake_provider, table
from tests.redis_server import redis_server

PRICE = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}
WHOLE = [*openai.chunks("Hel", "lo!"), *openai.end()]


def config(upstream: Upstream, **cache: Any) -> str:
    return "\n".join(
        [
            table("server", drain_s=5.0),
            fake_provider(upstream, "a", models=["m", "n"]),
            table('model_info."a/m"', price=PRICE),
            table('model_info."a/n"', price=PRICE),
            table("models.faq", targets=["a/m", "a/n"], strategy="weighted", cache_ttl_s=60.0),
            table("cache", **cache),
        ]
    )


def either_form(request: Request) -> Answer:
    return sse_answer(WHOLE) if request.json.get("stream") else json_answer(openai.completion())


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(either_form) as upstream:
        yield upstream


def client(gateway: GatewayProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=gateway.base_url,
        headers={"authorization": f"Bearer {gateway.key}"},
        limits=httpx.Limits(max_connections=200),
    )


def body(**more: Any) -> dict[str, Any]:
    return {"model": "faq", "messages": [{"role": "user", "content": "hello"}], **more}


async def ask(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await http.post("/chat/completions", json=body(**more), timeout=30)


def text_of(answer: httpx.Response) -> str:
    if answer.headers["content-type"] == "application/json":
        return str(answer.json()["choices"][0]["message"]["content"])
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [orjson.loads(line) for line in lines[:-1]]
    return "".join(c["delta"].get("content") or "" for d in chunks for c in d["choices"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hit_has_the_same_bytes_and_makes_no_charge(
    start_gateway: StartGateway, upstream: Upstream, stream: bool
) -> None:
    gateway = await start_gateway(config(upstream))
    async with client(gateway) as http:
        first, second = [await ask(http, stream=stream) for _ in range(2)]
        options = {"include_usage": True}
        third = await ask(http, stream=stream, **({"stream_options": options} if stream else {}))
        metrics = (await http.get(f"{gateway.url}/metrics")).text
    assert first.content == second.content
    assert [a.headers["x-sluice-cache"] for a in (first, second, third)] == ["miss", "hit", "hit"]
    assert second.headers["x-sluice-cost-usd"] == "0.000000000"
    assert second.headers["x-sluice-saved-usd"] == "0.000042000"
    assert b'"usage":{' in third.content
    assert (b'"usage":{' in second.content) is not stream
    assert len(upstream.requests) == 1
    row, charges = await gateway.ledger.ended(second.headers["x-sluice-call-id"])
    assert charges == []
    facts = {fact["fact"]: fact for fact in orjson.loads(row["facts"])}
    assert facts["cached"]["status"] == "hit"
    assert facts["saved"] == {"fact": "saved", "tokens": 32, "cost_nano_usd": 42_000}
    assert 'sluice_cache_calls_total{status="hit"} 2.0' in metrics
    assert "sluice_cache_stored_total 1.0" in metrics
    assert "sluice_cache_saved_tokens_total 64.0" in metrics


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_identical_calls_are_one(
    start_gateway: StartGateway, upstream: Upstream, stream: bool
) -> None:
    gate = asyncio.Event()
    whole = WHOLE if stream else [orjson.dumps(openai.completion())]
    kind = "text/event-stream" if stream else "application/json"
    answer = Answer((gate, *whole), headers={"content-type": kind})
    upstream.script = lambda _: answer
    gateway = await start_gateway(config(upstream))
    async with client(gateway) as http:
        tasks = [asyncio.create_task(ask(http, stream=stream)) for _ in range(100)]
        await asyncio.to_thread(in_flight, gateway, 100)
        gate.set()
        answers = await asyncio.gather(*tasks)
    assert {text_of(answer) for answer in answers} == {"Hello!"}
    assert len(upstream.requests) == 1
    found = sorted(answer.headers["x-sluice-cache"] for answer in answers)
    assert found == ["coalesced"] * 99 + ["miss"]
    await gateway.ledger.until(lambda ledger: len(ledger.calls()) == 100)
    assert len(gateway.ledger.charges()) == 1


def in_flight(gateway: GatewayProcess, calls: int) -> None:
    """Wait until so many calls are being served."""
    deadline = time.monotonic() + 20
    while f"sluice_in_flight {calls}.0" not in httpx.get(f"{gateway.url}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_last_one_leaves_the_provider_is_left_within_a_second(
    start_gateway: StartGateway, upstream: Upstream, stream: bool
) -> None:
    upstream.script = lambda _: Answer((Step.HANG,))
    gateway = await start_gateway(config(upstream))
    async with client(gateway) as http:
        tasks = [asyncio.create_task(ask(http, stream=stream)) for _ in range(3)]
        await asyncio.to_thread(in_flight, gateway, 3)
        tasks[0].cancel()
        await asyncio.to_thread(in_flight, gateway, 2)
        assert not upstream.left.is_set()
        for task in tasks[1:]:
            task.cancel()
        async with asyncio.timeout(3):  # a second, on a machine of its own
            await upstream.left.wait()
    await gateway.ledger.until(lambda ledger: len(ledger.calls()) == 3)
    assert len(upstream.requests) == 1
    assert [charge["error"] for charge in gateway.ledger.charges()] == ["client_gone"]


async def test_the_disk_is_there_after_a_restart(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    gateway = await start_gateway(config(upstream, store="disk"))
    async with client(gateway) as http:
        first = await ask(http)
    assert gateway.stop() == 0
    gateway.start()
    async with client(gateway) as http:
        second = await ask(http)
    assert second.headers["x-sluice-cache"] == "hit"
    assert second.content == first.content
    assert len(upstream.requests) == 1


async def test_redis_keeps_answers_for_other_processes(
    start_gateway: StartGateway, upstream: Upstream, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as redis:
        redis_table = table("redis", url=redis.url, timeout_s=5.0)
        gateway = await start_gateway(f"{config(upstream, store='redis')}\n{redis_table}")
        async with client(gateway) as http:
            first = await ask(http, stream=True)
        assert gateway.stop() == 0
        gateway.start()
        async with client(gateway) as http:
            second = await ask(http)
            streamed = await ask(http, stream=True)
    assert second.headers["x-sluice-cache"] == "hit"
    assert text_of(second) == "Hello!"
    assert streamed.content == first.content
    assert len(upstream.requests) == 1


async def test_a_stream_that_broke_is_not_kept(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    upstream.script = lambda _: sse_answer([*openai.chunks("Hel"), Step.CUT])
    gateway = await start_gateway(config(upstream))
    async with client(gateway) as http:
        broken = await ask(http, stream=True)
        assert "[DONE]" not in broken.text
        upstream.script = either_form
        whole = await ask(http, stream=True)
    assert whole.headers["x-sluice-cache"] == "miss"
    assert text_of(whole) == "Hello!"


async def test_callers_turn_it_on_and_off(start_gateway: StartGateway, upstream: Upstream) -> None:
    gateway = await start_gateway(config(upstream))

    async def status(http: httpx.AsyncClient, controls: Any = None, **headers: str) -> str | None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = body(model="a/m", **({"sluice": controls} if controls else {}))
        answer = await http.post("/chat/completions", json=sent, headers=named)
        return answer.headers.get("x-sluice-cache", str(answer.status_code))

    async with client(gateway) as http:
        assert await status(http) == "200"
        assert await status(http, x_sluice_cache="on") == "miss"
        assert await status(http, {"cache": True}) == "hit"
        assert await status(http, {"cache": "on, max-age=0"}) == "miss"
        assert await status(http, x_sluice_cache="on", cache_control="no-cache") == "bypass"
        assert await status(http, x_sluice_cache="on", x_sluice_cache_namespace="x") == "miss"
        assert await status(http, {"cache": "on", "cache_namespace": "x"}) == "hit"
        assert await status(http, x_sluice_cache="perhaps") == "400"
        assert await status(http, x_sluice_cache_namespace="x" * 65) == "400"
