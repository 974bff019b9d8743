"""What becomes of a prompt that is too long, from the client to the provider and the ledger?"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Upstream, json_answer
from tests.gateway_process import GatewayProcess, fake_provider, table

TURN = [{"role": "user", "content": "word " * 200}, {"role": "assistant", "content": "word " * 200}]
TALK = [{"role": "system", "content": "Be brief."}, *TURN * 4, {"role": "user", "content": "Now?"}]


def config(upstream: Upstream) -> str:
    return "\n".join(
        [
            fake_provider(upstream, "a", models=["gpt-4o"]),
            table('model_info."a/gpt-4o"', context_window=1_000),
            table("context", reserve_output_tokens=100),
            table("models.strict", targets=["a/gpt-4o"], context="strict"),
            table("models.oldest", targets=["a/gpt-4o"], context="oldest"),
        ]
    )


def http(gateway: GatewayProcess) -> httpx.AsyncClient:
    key = {"authorization": f"Bearer {gateway.key}"}
    return httpx.AsyncClient(base_url=gateway.url, headers=key, timeout=60)


async def asked(client: httpx.AsyncClient, model: str, messages: list[Any]) -> httpx.Response:
    body = {"model": model, "messages": messages}
    return await client.post("/v1/chat/completions", json=body)


async def test_a_long_prompt_is_refused_or_shortened(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(config(upstream))
        async with http(gateway) as client:
            refused = await asked(client, "strict", TALK)
            assert refused.status_code == 400
            assert refused.json()["error"]["code"] == "context_length_exceeded"
            assert upstream.requests == []
            shortened = await asked(client, "oldest", TALK)
            assert shortened.status_code == 200
            header = shortened.headers["x-sluice-truncated"]
            assert header.startswith("messages=1-4; tokens=8")
            (sent,) = upstream.requests
            assert sent.json["messages"] == [TALK[0], *TALK[5:]]
            call_id = shortened.headers["x-sluice-call-id"]
            row, _ = await gateway.ledger.ended(call_id)
            facts = [fact["fact"] for fact in json.loads(row["facts"])]
            assert facts.index("routed") < facts.index("truncated") < facts.index("attempt_started")


async def test_a_keys_own_setting_goes_before_the_aliases(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(config(upstream))
        own = gateway.command("keys", "create", "ci", "--set", "context=middle").strip()
        async with http(gateway) as client:
            client.headers["authorization"] = f"Bearer {own}"
            shortened = await asked(client, "strict", TALK)
            assert shortened.headers["x-sluice-truncated"].startswith("messages=3-6; tokens=8")
            assert upstream.request.json["messages"] == [*TALK[:3], *TALK[7:]]


async def test_a_megabyte_of_one_character_holds_up_no_other_call(
    start_gateway: StartGateway,
) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(config(upstream))
        async with http(gateway) as client:
            long = asyncio.create_task(
                asked(client, "oldest", [{"role": "user", "content": "a" * 1_000_000}])
            )
            slowest = 0.0
            while not long.done():
                began = time.perf_counter()
                assert (await client.get("/health/live")).status_code == 200
                slowest = max(slowest, time.perf_counter() - began)
            assert (await long).status_code == 400
            assert slowest < 1.0, "50 ms on a machine of its own"
