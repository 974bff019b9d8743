"""The official Node SDK against a running gateway: node/*.test.mjs, run by Node itself."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.clients.environments import node_modules
from tests.conftest import StartGateway
from tests.fakes.openai import chunks, error
from tests.fakes.upstream import Answer, Request, Step, Upstream, json_answer, sse, sse_answer
from tests.gateway_process import ECHO, GatewayProcess, fake_provider, table

_SUITES = Path(__file__).parent / "node"
_BROKEN = error("The server had an error", "server_error")
_ANSWERS = {
    "too-long": json_answer(error("Too long", None, "context_length_exceeded"), 400),
    "no-money": json_answer(error("No credit", "insufficient_quota", "insufficient_quota"), 429),
    "broken": json_answer(_BROKEN, 500),
    "denied": json_answer(error("Incorrect API key", None, "invalid_api_key"), 401),
    "silent": Answer((Step.HANG,)),
    "breaks-off": sse_answer([*chunks("Once", " upon"), sse(_BROKEN)]),
}

pytestmark = pytest.mark.timeout(300)


async def run_suite(name: str, gateway: GatewayProcess, **more: str) -> None:
    """Run one file of tests. All must pass, none may be skipped."""
    node_modules(_SUITES)
    environment = {"SLUICE_BASE_URL": gateway.base_url, "SLUICE_KEY": gateway.key, **more}
    process = await asyncio.create_subprocess_exec(
        str(shutil.which("node")),
        *("--test", "--test-reporter=tap", name),
        cwd=_SUITES,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output = (await process.communicate())[0].decode()
    except TimeoutError:
        process.kill()
        raise
    counts = dict(re.findall(r"^# (pass|fail|cancelled|skipped|todo) (\d+)$", output, re.M))
    assert process.returncode == 0, output
    assert int(counts.pop("pass")) > 5, output
    assert set(counts.values()) == {"0"}, output


async def test_calls(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    await run_suite("calls.test.mjs", gateway)
    await gateway.ledger.until(
        lambda ledger: {row["status"] for row in ledger.calls()} >= {200, 499}
    )
    assert all(charge["state"] == "settled" for charge in gateway.ledger.charges())


async def test_errors(start_gateway: StartGateway) -> None:
    def answer(request: Request) -> Answer:
        return _ANSWERS[request.json["model"]]

    async with Upstream(answer) as upstream:
        retry = table("retry", base_s=0.001) + table("retry.rules.server_error", same_target=1)
        gateway = await start_gateway(retry + ECHO + fake_provider(upstream))
        key = gateway.command("keys", "create", "narrow", "--model", "fake/*").strip()
        await run_suite("errors.test.mjs", gateway, SLUICE_NARROW_KEY=key)
    # Two calls each, streamed and not; only what helps was repeated, and only by the gateway.
    sent = Counter(request.json["model"] for request in upstream.requests)
    assert sent == {
        "too-long": 2, "no-money": 2, "broken": 4, "denied": 2, "silent": 1, "breaks-off": 1,
    }  # fmt: skip
