"""The fixture itself: it starts what is configured, and ends it."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes.openai import completion
from tests.fakes.upstream import Upstream, json_answer
from tests.gateway_process import GatewayProcess, fake_provider, table

_HELLO = {"messages": [{"role": "user", "content": "hello"}]}


async def test_a_call_reaches_the_fake_provider_and_the_ledger(
    start_gateway: StartGateway,
) -> None:
    async with Upstream(json_answer(completion("Hi!"))) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        async with httpx.AsyncClient() as client:
            answer = await client.post(
                f"{gateway.base_url}/chat/completions",
                json={"model": "fake/fake-model", **_HELLO},
                headers={"authorization": f"Bearer {gateway.key}"},
            )
        assert answer.json()["choices"][0]["message"]["content"] == "Hi!"
        assert upstream.request.path == "/v1/chat/completions"
        call, charges = await gateway.ledger.ended(answer.headers["x-sluice-call-id"])
        assert call["status"] == 200
        assert [charge["prompt_tokens"] for charge in charges] == [22]


async def test_a_signal_ends_it(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0


async def test_a_gateway_that_does_not_start_says_why(start_gateway: StartGateway) -> None:
    with pytest.raises(RuntimeError, match="prot"):
        await start_gateway(table("server", prot=1))


def test_a_restart_keeps_keys_and_ledger(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as before:
        key = before.key
        before.kill()
    with GatewayProcess(tmp_path) as after:
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.get(f"{after.base_url}/models", headers=headers)
    assert answer.status_code == 200
