"""Whole path: what does a caller see of a budget, and does it hold through the gateway?"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, Step, Upstream, json_answer, sse_answer
from tests.gateway_process import GatewayProcess, fake_provider, table

# Nano-dollars a token: 1,000 and 2,000. The fake's usage is 22 (12 of them cached) and 10.
PRICE = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}
BODY: dict[str, Any] = {
    "model": "a/m",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 10,
}


class Provider:
    """Answers everything, and counts."""

    def __init__(self) -> None:
        self.served = 0

    def __call__(self, request: Request) -> Answer:
        self.served += 1
        return json_answer(openai.completion())


def config(upstream: Upstream, *extra: str) -> str:
    return "\n".join(
        [
            table("server", drain_s=5.0),
            fake_provider(upstream, "a", models=["m"]),
            table('model_info."a/m"', price=PRICE),
            *extra,
        ]
    )


def budgets(gateway: GatewayProcess) -> Any:
    return json.loads(gateway.command("budgets", "list", "--json"))


async def call(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    body = {name: value for name, value in {**BODY, **more}.items() if value is not None}
    return await client.post("/chat/completions", json=body)


def client_of(gateway: GatewayProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=gateway.base_url, headers={"authorization": f"Bearer {gateway.key}"}
    )


async def test_a_hard_budget_refuses_what_it_has_no_room_for(start_gateway: StartGateway) -> None:
    async with Upstream(provider := Provider()) as upstream:
        gateway = await start_gateway(config(upstream))
        async with client_of(gateway) as client:
            cost = float((await call(client)).headers["x-sluice-cost-usd"])
            await asyncio.to_thread(
                gateway.command, "budgets", "set", "model:a/m", "--limit", f"{cost:.9f}"
            )
            refused = await call(client)
            streamed = await call(client, stream=True)
            (budget,) = await asyncio.to_thread(budgets, gateway)
    assert provider.served == 1
    for answer in (refused, streamed):
        assert answer.status_code == 429
        assert answer.headers["x-should-retry"] == "false"
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert "model:a/m/month" in error["message"]
    assert budget["spent_nano_usd"] == budget["limit_nano_usd"] == round(cost * 1e9)
    await gateway.ledger.until(lambda ledger: len(ledger.calls()) == 3)
    rows = gateway.ledger.calls()
    assert sorted(row["error"] or "" for row in rows) == ["", "budget_exceeded", "budget_exceeded"]


async def test_a_soft_budget_is_a_header_and_a_metric(start_gateway: StartGateway) -> None:
    async with Upstream(Provider()) as upstream:
        gateway = await start_gateway(config(upstream))
        await asyncio.to_thread(
            gateway.command, "budgets", "set", "tag:nightly", "--limit", "0", "--soft"
        )
        async with client_of(gateway) as client:
            plain = await call(client)
            tagged = await call(client, sluice={"tags": ["nightly"]})
            metrics = await client.get(f"{gateway.url}/metrics")
    assert "x-sluice-budget-warning" not in plain.headers
    assert tagged.status_code == 200
    assert tagged.headers["x-sluice-budget-warning"] == "tag:nightly/month"
    assert 'sluice_budget_overruns_total{budget="tag:nightly/month"} 1.0' in metrics.text


async def test_under_a_hard_budget_a_call_without_a_bound_is_refused(
    start_gateway: StartGateway,
) -> None:
    async with Upstream(provider := Provider()) as upstream:
        gateway = await start_gateway(config(upstream))
        await asyncio.to_thread(gateway.command, "budgets", "set", "model:a/m", "--limit", "50")
        async with client_of(gateway) as client:
            answer = await call(client, tools=[{"type": "web_search"}])
            unlimited = await call(client, max_tokens=None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "cost_unbounded")
    assert "max_tokens" in unlimited.json()["error"]["message"]
    assert provider.served == 0


async def test_of_many_calls_at_once_exactly_those_are_served_that_fit(
    start_gateway: StartGateway,
) -> None:
    async with Upstream(provider := Provider()) as upstream:
        gateway = await start_gateway(
            config(upstream, table("budgets", wait_s=0.3)), arguments=["--workers", "2"]
        )
        async with client_of(gateway) as client:
            await call(client)
            (charge,) = gateway.ledger.charges()
            first, bound = charge["cost_nano_usd"], charge["bound_nano_usd"]
            room = first + 4 * bound
            await asyncio.to_thread(
                gateway.command, "budgets", "set", "model:a/m", "--limit", f"{room / 1e9:.9f}"
            )
            answers = await asyncio.gather(*(call(client) for _ in range(100)))
        statuses = [answer.status_code for answer in answers]
        # Whoever waits is let in until what is left is less than a bound.
        assert set(statuses) == {200, 429}
        assert provider.served == 1 + statuses.count(200)
        (budget,) = await asyncio.to_thread(budgets, gateway)
    spent = budget["spent_nano_usd"]
    assert spent == sum(row["cost_nano_usd"] for row in gateway.ledger.charges())
    assert budget["reserved_nano_usd"] == 0
    assert spent <= room
    assert room - spent < bound


# ------------------------------------------------------------------------------- streams


def streaming_config(upstream: Upstream) -> str:
    return "\n".join(
        [
            table("server", drain_s=5.0),
            fake_provider(upstream, "a", models=["m"]),
            table('model_info."a/m"', hidden_reasoning=False, price=PRICE),
            table("models.faq", targets=["a/m"], cache_ttl_s=60.0),
            table("budgets", reserve_output_tokens=232, wait_s=0.0),  # 200 bytes, and 32 beside
        ]
    )


def chunks_of(answer: httpx.Response) -> list[Any]:
    *events, done = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(event) for event in events]


async def stream(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    body = {**BODY, "model": "faq", "stream": True, "stream_options": {"include_usage": True}}
    del body["max_tokens"]
    return await client.post("/chat/completions", json=body, headers=headers)


async def test_a_stream_is_stopped_where_its_budget_ends(start_gateway: StartGateway) -> None:
    told = ["0123456789" * 10] * 6
    endless = sse_answer([*openai.chunks(*told), Step.HANG])

    def script(request: Request) -> Answer:
        return endless if request.json.get("stream") else json_answer(openai.completion())

    async with Upstream(script) as upstream:
        gateway = await start_gateway(streaming_config(upstream))
        async with client_of(gateway) as client:
            await call(client, max_tokens=1)
            (probe,) = gateway.ledger.charges()
            prompt = probe["bound_nano_usd"] - 1 * 2_000
            # Room for one top-up and a little more: 464 tokens would be held, and then 500 are.
            limit = probe["cost_nano_usd"] + prompt + 500 * 2_000
            await asyncio.to_thread(
                gateway.command, "budgets", "set", "model:a/m", "--limit", f"{limit / 1e9:.9f}"
            )
            before = len(upstream.requests)
            first = await stream(client, **{"idempotency-key": "order-1"})
            await upstream.left.wait()
            (budget,) = await asyncio.to_thread(budgets, gateway)
            await stream(client, **{"idempotency-key": "order-1"})
            asked = len(upstream.requests) - before
    *content, last, usage = chunks_of(first)
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in content)
    assert text == "".join(told[:4])
    assert [c["choices"][0]["finish_reason"] for c in (*content, last)] == [None] * 5 + ["length"]
    assert {c["id"] for c in (*content, last, usage)} == {"chatcmpl-1"}
    assert usage["usage"]["completion_tokens"] == 100
    assert asked == 2  # kept by neither the cache nor for the key
    assert "stream_options" in upstream.requests[before].json
    assert "max_tokens" not in upstream.requests[before].json
    (charge,) = [row for row in gateway.ledger.charges() if row["completion_tokens"] == 100][:1]
    assert (charge["error"], charge["source"]) == ("budget_exceeded", "estimated")
    assert budget["spent_nano_usd"] <= limit
    assert budget["reserved_nano_usd"] == 0
    await gateway.ledger.until(lambda ledger: len(ledger.calls()) == 3)
    facts = [json.loads(row["facts"]) for row in gateway.ledger.calls()]
    stopped = [fact for call in facts for fact in call if fact["fact"] == "stopped"]
    assert {fact["budget"] for fact in stopped} == {"model:a/m/month"}


async def test_a_stream_that_tops_up_arrives_whole_and_is_kept(start_gateway: StartGateway) -> None:
    told = ["0123456789" * 10] * 30
    whole = sse_answer([*openai.chunks(*told), *openai.end()])
    async with Upstream(whole) as upstream:
        gateway = await start_gateway(streaming_config(upstream))
        await asyncio.to_thread(gateway.command, "budgets", "set", "model:a/m", "--limit", "1")
        async with client_of(gateway) as client:
            first, second = [await stream(client) for _ in range(2)]
        (budget,) = await asyncio.to_thread(budgets, gateway)
    assert first.text == second.text
    assert (first.headers["x-sluice-cache"], second.headers["x-sluice-cache"]) == ("miss", "hit")
    (charge,) = gateway.ledger.charges()
    assert charge["bound_nano_usd"] >= 3_000 * 2_000
    assert budget["spent_nano_usd"] == charge["cost_nano_usd"]
    assert budget["reserved_nano_usd"] == 0
