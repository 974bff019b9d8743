"""What does SIGTERM do to a real process with live streams?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Step, Upstream, sse_answer
from tests.gateway_process import GatewayProcess, fake_provider, table

BODY: dict[str, Any] = {
    "model": "fake/fake-model",
    "messages": [{"role": "user", "content": "hello"}],
}


class Live:
    """A stream that is being read."""

    def __init__(self, answer: httpx.Response) -> None:
        self.call_id = answer.headers["x-sluice-call-id"]
        self._lines = answer.aiter_lines()

    async def next(self) -> str | None:
        """The next data line, None at the end."""
        async for line in self._lines:
            if line.startswith("data: "):
                return line[6:]
        return None

    async def rest(self) -> list[str]:
        found = []
        while (line := await self.next()) is not None:
            found.append(line)
        return found


class Caller:
    def __init__(self, gateway: GatewayProcess, http: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self._http = http
        self._headers = {"authorization": f"Bearer {gateway.key}"}

    async def stream(self) -> Live:
        """A streamed call whose first text has come."""
        request = self._http.build_request(
            "POST",
            f"{self.gateway.base_url}/chat/completions",
            json={**BODY, "stream": True},
            headers=self._headers,
        )
        live = Live(await self._http.send(request, stream=True))
        await live.next()
        return live

    async def plain(self) -> httpx.Response:
        url = f"{self.gateway.base_url}/chat/completions"
        return await self._http.post(url, json=BODY, headers=self._headers)

    async def health(self) -> int:
        return (await self._http.get(f"{self.gateway.url}/health/ready")).status_code

    async def draining(self) -> None:
        """The signal has been seen."""
        async with asyncio.timeout(5):
            while await self.health() != 503:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.01)

    async def exit_status(self, within_s: float) -> int:
        return await asyncio.to_thread(self.gateway.wait, within_s)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


async def caller(
    start: StartGateway,
    http: httpx.AsyncClient,
    upstream: Upstream,
    *,
    drain_s: float,
    arguments: Sequence[str] = (),
) -> Caller:
    config = table("server", drain_s=drain_s) + fake_provider(upstream)
    return Caller(await start(config, arguments=arguments), http)


async def test_a_stream_goes_on_to_its_end_and_then_the_process_ends(
    start_gateway: StartGateway, http: httpx.AsyncClient
) -> None:
    release = asyncio.Event()
    parts = [*openai.chunks("a"), release, *openai.chunks("b")[1:], *openai.end()]
    async with Upstream(sse_answer(parts)) as upstream:
        here = await caller(start_gateway, http, upstream, drain_s=30.0)
        live = await here.stream()
        here.gateway.send_signal(signal.SIGTERM)
        await here.draining()
        refused = await here.plain()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "draining"
        assert here.gateway.process.poll() is None
        release.set()
        assert (await live.rest())[-1] == "[DONE]"
        assert await here.exit_status(5.0) == 0
        assert len(upstream.requests) == 1
    call, (charge,) = await here.gateway.ledger.ended(live.call_id)
    assert (call["status"], call["error"]) == (200, None)
    assert (charge["state"], charge["source"], charge["completion_tokens"]) == (
        "settled",
        "provider",
        10,
    )


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_stream_that_does_not_end_gets_an_error_and_is_settled(
    start_gateway: StartGateway, http: httpx.AsyncClient, signals: int
) -> None:
    """After `drain_s`, or at a second signal."""
    async with Upstream(sse_answer([*openai.chunks("x" * 40), Step.HANG])) as upstream:
        here = await caller(start_gateway, http, upstream, drain_s=0.3 if signals == 1 else 60.0)
        streams = [await here.stream() for _ in range(3)]
        for live in streams:
            assert json.loads(await live.next() or "")["choices"][0]["delta"]["content"]
        began = time.monotonic()
        here.gateway.send_signal(signal.SIGTERM)
        if signals == 2:
            await here.draining()
            here.gateway.send_signal(signal.SIGTERM)
        for live in streams:
            (event,) = await live.rest()
            assert json.loads(event)["error"]["code"] == "draining"
        assert await here.exit_status(5.0) == 0
        assert time.monotonic() - began < 5.0
        assert upstream.left.is_set()
    for live in streams:
        call, (charge,) = await here.gateway.ledger.ended(live.call_id)
        assert (call["status"], call["error"]) == (200, "draining")
        assert (charge["state"], charge["error"]) == ("settled", "draining")
        assert (charge["source"], charge["completion_tokens"]) == ("estimated", 10)


async def test_a_client_that_does_not_read_does_not_keep_the_process(
    start_gateway: StartGateway, http: httpx.AsyncClient
) -> None:
    much, arrived = openai.chunk({"content": "x" * 100_000}), asyncio.Event()

    def answer(_: object) -> Answer:
        arrived.set()
        return sse_answer([much] * 400)

    async with Upstream(answer) as upstream:
        here = await caller(start_gateway, http, upstream, drain_s=0.2)
        port = httpx.URL(here.gateway.url).port
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        data = json.dumps({**BODY, "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {here.gateway.key}"
        writer.write(f"{head}\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        await arrived.wait()
        here.gateway.send_signal(signal.SIGTERM)
        assert await here.exit_status(15.0) == 0
        writer.close()
    (charge,) = here.gateway.ledger.charges()
    assert (charge["state"], charge["error"]) == ("settled", "draining")
    assert charge["completion_tokens"] > 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_interrupt_at_the_terminal_is_one_signal(
    start_gateway: StartGateway, http: httpx.AsyncClient, workers: str
) -> None:
    """It reaches parent and workers alike, and the parent passes it on."""
    release = asyncio.Event()
    parts = [*openai.chunks("a"), release, *openai.end()]
    async with Upstream(sse_answer(parts)) as upstream:
        arguments = ("--workers", workers)
        here = await caller(start_gateway, http, upstream, drain_s=30.0, arguments=arguments)
        live = await here.stream()
        os.killpg(here.gateway.pid, signal.SIGINT)
        await here.draining()
        release.set()
        assert (await live.rest())[-1] == "[DONE]"
        assert await here.exit_status(5.0) == 0


async def test_the_parent_passes_the_signal_on_to_its_workers(
    start_gateway: StartGateway, http: httpx.AsyncClient
) -> None:
    release = asyncio.Event()
    parts = [*openai.chunks("a"), release, *openai.end()]
    async with Upstream(sse_answer(parts)) as upstream:
        here = await caller(
            start_gateway, http, upstream, drain_s=30.0, arguments=("--workers", "2")
        )
        streams = [await here.stream() for _ in range(4)]
        here.gateway.send_signal(signal.SIGTERM)
        await here.draining()
        release.set()
        for live in streams:
            assert (await live.rest())[-1] == "[DONE]"
        assert await here.exit_status(5.0) == 0
    charges = here.gateway.ledger.charges()
    assert [charge["state"] for charge in charges] == ["settled"] * 4
