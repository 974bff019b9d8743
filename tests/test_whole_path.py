"""Does every ending of a call stand in the ledger, with what it used and cost?"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Step, Upstream, json_answer, sse_answer
from tests.gateway_process import FAKE_KEY, GatewayProcess, fake_provider, table
from tests.ledger_view import Row

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
# Nano-dollars a token: 1,000 and 2,000; cached ones 500. The fakes' usage is 22 (12 of them
# cached) and 10.
PRICE = {
    "input_cost_per_token": 0.000001,
    "output_cost_per_token": 0.000002,
    "cache_read_input_token_cost": 0.0000005,
}
USAGE_COST = 10 * 1_000 + 12 * 500 + 10 * 2_000


def config(*upstreams: Upstream, **server: Any) -> str:
    """One provider per upstream, `a`, `b`, …, each with a priced model `m`, in the alias `all`."""
    names = "abc"[: len(upstreams)]
    parts = [table("server", drain_s=5.0, **server), table("retry", base_s=0.01)]
    for name, upstream in zip(names, upstreams, strict=True):
        parts.append(fake_provider(upstream, name, models=["m"]))
        parts.append(table(f'model_info."{name}/m"', price=PRICE))
    parts.append(table("models.all", targets=[f"{name}/m" for name in names]))
    return "\n".join(parts)


class Client:
    """Somebody who calls a gateway."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._http = httpx.AsyncClient(
            base_url=gateway.base_url, headers={"authorization": f"Bearer {gateway.key}"}
        )

    async def call(self, model: str = "a/m", **body: Any) -> httpx.Response:
        return await self._http.post("/chat/completions", json={"model": model, **HELLO, **body})

    async def lines(self, model: str = "a/m", **body: Any) -> tuple[str, list[str]]:
        """A streamed call: its id, and its data lines."""
        answer = await self.call(model, stream=True, **body)
        assert answer.status_code == 200, answer.text
        found = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
        return answer.headers["x-sluice-call-id"], found

    async def leave(self, until: asyncio.Event | None, **body: Any) -> None:
        """Call, and hang up: when `until` is set, or else after the first event."""
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(self._url).port)
        data = json.dumps({"model": "a/m", **HELLO, **body}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.key}"
        writer.write(f"{head}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        if until:
            await until.wait()
        else:
            await reader.readuntil(b"\n\n\r\n")
        writer.close()

    @property
    def key(self) -> str:
        return self._gateway.key

    @property
    def _url(self) -> str:
        return self._gateway.url

    async def aclose(self) -> None:
        await self._http.aclose()


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    made: list[Client] = []
    yield made
    for client in made:
        await client.aclose()


class Scene:
    """A gateway, its caller, and what stands in the ledger afterwards."""

    def __init__(self, gateway: GatewayProcess, client: Client) -> None:
        self.gateway = gateway
        self.client = client

    async def only_call(self) -> tuple[Row, list[Row]]:
        """The only call's row and charges, once it has ended."""
        await self.gateway.ledger.until(lambda ledger: len(ledger.calls()) == 1)
        return await self.gateway.ledger.ended(self.gateway.ledger.calls()[0]["call_id"])


@pytest.fixture
def scene(start_gateway: StartGateway, clients: list[Client]) -> Any:
    async def start(*upstreams: Upstream, extra: str = "", **server: Any) -> Scene:
        gateway = await start_gateway(config(*upstreams, **server) + extra)
        clients.append(Client(gateway))
        return Scene(gateway, clients[-1])

    return start


def used(charge: Row) -> tuple[int, int, str | None, int | None]:
    return (
        charge["prompt_tokens"],
        charge["completion_tokens"],
        charge["source"],
        charge["cost_nano_usd"],
    )


WHOLE = [*openai.chunks("Hel", "lo!"), *openai.end()]


# ----------------------------------------------------------------------------- finished


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_ended_well_is_charged_exactly(scene: Any, stream: bool) -> None:
    answer = sse_answer(WHOLE) if stream else json_answer(openai.completion())
    async with Upstream(answer) as upstream:
        here = await scene(upstream)
        if stream:
            call_id, lines = await here.client.lines()
            assert lines[-1] == "[DONE]"
        else:
            found = await here.client.call()
            call_id = found.headers["x-sluice-call-id"]
            assert found.headers["x-sluice-cost-usd"] == f"0.{USAGE_COST:09d}"
        call, (charge,) = await here.gateway.ledger.ended(call_id)
    assert (call["status"], call["error"], call["target"]) == (200, None, "a/m")
    assert (call["attempts"], call["stream"]) == (1, int(stream))
    assert used(charge) == (22, 10, "provider", USAGE_COST)
    assert (charge["state"], charge["error"], charge["cached_tokens"]) == ("settled", None, 12)


# -------------------------------------------------------------------------------- failed


async def test_a_call_that_was_refused_costs_nothing(scene: Any) -> None:
    error = openai.error("bad", "invalid_request_error", "bad_value")
    async with Upstream(json_answer(error, 400)) as upstream:
        here = await scene(upstream)
        answer = await here.client.call()
        call, (charge,) = await here.only_call()
    assert (answer.status_code, call["status"], call["error"]) == (400, 400, "invalid_prompt")
    assert used(charge) == (0, 0, None, 0)
    assert charge["error"] == "invalid_prompt"


async def test_attempts_in_vain_are_all_in_the_ledger(scene: Any) -> None:
    async with Upstream(json_answer(openai.error("x", "server_error"), 500)) as upstream:
        here = await scene(upstream)
        answer = await here.client.call()
        call, charges = await here.only_call()
        assert len(upstream.requests) == 3
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert (call["status"], call["error"], call["attempts"]) == (500, "server_error", 3)
    assert [charge["attempt"] for charge in charges] == [1, 2, 3]
    assert [used(charge) for charge in charges] == [(0, 0, None, 0)] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_another_target_takes_over(scene: Any, stream: bool) -> None:
    good = sse_answer(WHOLE) if stream else json_answer(openai.completion())
    limited = json_answer(openai.error("slow down", "rate_limit_error"), 429)
    async with Upstream(limited) as first, Upstream(good) as second:
        here = await scene(first, second)
        answer = await here.client.call("all", stream=stream)
        call, (refused, served) = await here.only_call()
    assert answer.status_code == 200
    assert (answer.headers["x-sluice-provider"], answer.headers["x-sluice-attempts"]) == ("b", "2")
    assert (call["alias"], call["target"], call["error"]) == ("all", "b/m", None)
    assert (refused["provider"], refused["error"], used(refused)[3]) == ("a", "rate_limit", 0)
    assert (served["provider"], used(served)) == ("b", (22, 10, "provider", USAGE_COST))


@pytest.mark.parametrize("cut", [Step.CUT, None], ids=["cut", "clean end"])
async def test_a_stream_that_breaks_is_an_error_event_and_an_estimated_charge(
    scene: Any, cut: Step | None
) -> None:
    parts: list[Any] = [*openai.chunks("x" * 40, "y" * 40), *([cut] if cut else [])]
    async with Upstream(sse_answer(parts)) as upstream:
        here = await scene(upstream)
        call_id, lines = await here.client.lines()
        call, (charge,) = await here.gateway.ledger.ended(call_id)
    *events, last = map(json.loads, lines)
    assert last["error"]["code"] == "upstream_response_invalid"
    assert all(choice["finish_reason"] is None for e in events for choice in e["choices"])
    assert (call["status"], call["error"]) == (200, "response_parsing")
    prompt, completion, source, cost = used(charge)
    assert (completion, source) == (20, "estimated")
    assert cost == prompt * 1_000 + completion * 2_000 > 0


async def test_a_call_that_no_key_may_make_is_in_the_ledger_without_a_charge(scene: Any) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        here = await scene(upstream)
        answer = await here.client.call("nobody/knows")
        call, charges = await here.only_call()
        assert upstream.requests == []
    assert (answer.status_code, call["status"], call["error"]) == (404, 404, "provider_not_found")
    assert charges == []


# ----------------------------------------------------------------------------- client gone


async def test_a_client_that_leaves_in_mid_stream_is_charged_for_what_came(scene: Any) -> None:
    async with Upstream(sse_answer([*openai.chunks("x" * 40), Step.HANG])) as upstream:
        here = await scene(upstream)
        await here.client.leave(None, stream=True)
        async with asyncio.timeout(10):
            await upstream.left.wait()
        call, (charge,) = await here.only_call()
    assert (call["status"], call["error"]) == (499, "client_gone")
    prompt, completion, source, cost = used(charge)
    assert source == "estimated"
    assert completion in (0, 10)  # the role comes first, and the client may leave after it
    assert cost == prompt * 1_000 + completion * 2_000 > 0
    assert charge["error"] == "client_gone"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_any_answer_is_charged_for_its_prompt(
    scene: Any, stream: bool
) -> None:
    arrived = asyncio.Event()

    def hang(_: object) -> Answer:
        arrived.set()
        return sse_answer([Step.HANG])

    async with Upstream(hang) as upstream:
        here = await scene(upstream)
        await here.client.leave(arrived, stream=stream, max_tokens=100)
        async with asyncio.timeout(10):
            await upstream.left.wait()
        call, (charge,) = await here.only_call()
    assert (call["status"], call["error"]) == (499, "client_gone")
    prompt, completion, source, cost = used(charge)
    assert source == "estimated"
    assert prompt > 0
    assert completion == 0 if stream else completion <= 100
    assert cost == prompt * 1_000 + completion * 2_000


async def test_a_call_may_run_to_its_end_without_its_client(scene: Any) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()
    whole = json_answer(openai.completion())

    def later(_: object) -> Answer:
        arrived.set()
        return Answer((release, *whole.parts), headers=whole.headers)

    async with Upstream(later) as upstream:
        here = await scene(upstream, extra=table("calls", client_gone="finish"))
        await here.client.leave(arrived)
        release.set()
        _, (charge,) = await here.only_call()
        assert not upstream.left.is_set()
    assert used(charge) == (22, 10, "provider", USAGE_COST)


# ------------------------------------------------------------------------- secrets, reports


async def test_neither_side_ever_sees_the_others_key(scene: Any) -> None:
    """The provider repeats its key wherever a provider may: in errors, headers and streams."""
    echoing = openai.error(f"Incorrect API key provided: {FAKE_KEY}", "invalid_request_error")
    answers = [
        json_answer(echoing, 400, x_echo=FAKE_KEY),
        json_answer(echoing, 401, www_authenticate=FAKE_KEY),
        json_answer(echoing, 429, retry_after="0", set_cookie=FAKE_KEY),
        json_answer(echoing, 500),
        json_answer(openai.completion(), x_echo=FAKE_KEY, set_cookie=FAKE_KEY),
        sse_answer([*openai.chunks("a"), b"data: " + json.dumps(echoing).encode() + b"\n\n"]),
        Answer((f"<html>{FAKE_KEY}</html>".encode(),), 502, {"content-type": "text/html"}),
    ]
    async with Upstream(answers[0]) as upstream:
        here = await scene(upstream)
        seen = b""
        for answer in answers:
            upstream.script = lambda _, answer=answer: answer  # type: ignore[misc]
            found = await here.client.call()
            seen += found.content + repr(found.headers.raw).encode()
            found = await here.client.call(stream=True)
            seen += found.content + repr(found.headers.raw).encode()
        sent = b"".join(repr(request).encode() for request in upstream.requests)
        key = here.gateway.key
        log, facts = here.gateway.log(), repr(here.gateway.ledger.calls())
    assert len(seen) > 1000
    assert FAKE_KEY.encode() not in seen
    assert FAKE_KEY not in log + facts
    assert sent.count(FAKE_KEY.encode()) == len(upstream.requests)
    assert key.encode() not in sent
    assert key not in log + facts


async def test_reports_agree_with_the_rows(scene: Any) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        here = await scene(upstream)
        for _ in range(3):
            await here.client.call()
        upstream.script = lambda _: sse_answer([*openai.chunks("x" * 40), Step.CUT])
        call_id, _ = await here.client.lines()
        await here.gateway.ledger.ended(call_id)
        await here.gateway.ledger.until(lambda ledger: len(ledger.calls()) == 4)
        charges = here.gateway.ledger.charges()
        cost = sum(charge["cost_nano_usd"] for charge in charges)
        text = await asyncio.to_thread(here.gateway.command, "usage", "--format", "csv")
        listed = await asyncio.to_thread(here.gateway.command, "calls", "--format", "json")
    (total,) = csv.DictReader(io.StringIO(text))
    assert int(total["calls"]) == int(total["attempts"]) == 4
    assert int(total["prompt_tokens"]) == sum(charge["prompt_tokens"] for charge in charges)
    assert int(total["cost_nano_usd"]) == cost
    assert int(total["estimated"]) == 1
    rows = json.loads(listed)
    assert sum(row["cost_nano_usd"] for row in rows["calls"]) == cost
