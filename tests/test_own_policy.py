"""Does one entry in config.toml put a policy of one's own on the path?"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Upstream, json_answer
from tests.gateway_process import ROOT, GatewayProcess, fake_provider

PROMPT = "Ask ann@example.com about 4111 1111 1111 1111."
REDACTED = "Ask [e-mail address] about [card number]."
ENTRY = '\n[[policies]]\nuse = "examples.redaction:Redact"\n'


async def ask(gateway: GatewayProcess, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers) as client:
        return await client.post("/chat/completions", json={"model": "fake-model", **body})


async def test_what_arrives_upstream_is_redacted(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion(PROMPT))) as upstream:
        gateway = await start_gateway(fake_provider(upstream) + ENTRY)
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": PROMPT}]},
        ]
        answer = await ask(gateway, messages=messages, user="unchanged")
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == PROMPT, "answers are not read"
        (request,) = upstream.requests
        assert b"ann@" not in request.body
        assert b"4111" not in request.body
        assert request.json["user"] == "unchanged"
        assert request.json["messages"] == [
            messages[0],
            {"role": "user", "content": [{"type": "text", "text": REDACTED}]},
        ]
        row, _ = await gateway.ledger.ended(answer.headers["x-sluice-call-id"])
        assert '{"fact":"redacted","emails":1,"cards":1}' in row["facts"]


@pytest.mark.parametrize(
    ("use", "problem"),
    [
        ("examples.redactoin:Redact", "there is no module examples.redactoin"),
        ("gateway.config:Config", "is no policy"),
    ],
)
async def test_a_policy_that_is_none_stops_the_start(
    start_gateway: StartGateway, use: str, problem: str
) -> None:
    entry = f'\n[[policies]]\nuse = "{use}"\n'
    with pytest.raises(RuntimeError, match=problem):
        await start_gateway(f'[providers.echo]\nkind = "echo"\n{entry}')


async def test_a_policy_may_lie_beside_the_configuration(start_gateway: StartGateway) -> None:
    source = (ROOT / "examples/redaction/__init__.py").read_text()
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        gateway.stop()
        (gateway.home / "house_rules.py").write_text(source)
        with (gateway.home / "config.toml").open("a") as file:
            file.write('[[policies]]\nuse = "house_rules:Redact"\nafter = "Keys"\n')
        assert "no faults" in gateway.command("check")
        gateway.start()
        answer = await ask(gateway, messages=[{"role": "user", "content": PROMPT}])
        assert answer.status_code == 200, answer.text
        assert upstream.requests[0].json["messages"][0]["content"] == REDACTED
