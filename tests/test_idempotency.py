"""Does a repetition cost nothing, through the whole gateway and after a restart?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Step, Upstream, json_answer, sse_answer
from tests.gateway_process import GatewayProcess, fake_provider, table

REPLAY = "x-sluice-idempotent-replay"


async def ask(
    gateway: GatewayProcess, name: str | None = "order-1", content: str = "hello", **body: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"}
    if name is not None:
        headers["idempotency-key"] = name
    messages = [{"role": "user", "content": content}]
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers) as client:
        return await client.post(
            "/chat/completions", json={"model": "fake-model", "messages": messages, **body}
        )


def events(answer: httpx.Response) -> list[str]:
    return [line for line in answer.text.split("\n") if line.startswith("data: ")]


def statuses(answers: Sequence[httpx.Response]) -> list[tuple[int, str | None]]:
    return [(answer.status_code, answer.headers.get(REPLAY)) for answer in answers]


async def test_a_repetition_is_no_call_and_no_charge(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        answers = [await ask(gateway) for _ in range(3)]
        assert statuses(answers) == [(200, None), (200, "true"), (200, "true")]
        assert len({answer.content for answer in answers}) == 1
        assert len({answer.headers["x-sluice-call-id"] for answer in answers}) == 3
        await ask(gateway, None)
        await ask(gateway, "order-2")
        assert len(upstream.requests) == 3
        for answer, attempts in zip(answers, (1, 0, 0), strict=True):
            row, charges = await gateway.ledger.ended(answer.headers["x-sluice-call-id"])
            assert (row["status"], row["attempts"], len(charges)) == (200, attempts, attempts)


async def test_another_body_is_refused_and_a_bad_key_too(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        await ask(gateway)
        other = await ask(gateway, content="another")
        assert other.status_code == 409
        assert other.json()["error"]["code"] == "idempotency_key_reused"
        assert other.headers["x-should-retry"] == "false"
        assert REPLAY not in other.headers
        bad = await ask(gateway, "x" * 256)
        assert (bad.status_code, bad.json()["error"]["param"]) == (400, "idempotency-key")
        assert len(upstream.requests) == 1


async def test_answers_outlast_a_restart(start_gateway: StartGateway) -> None:
    chunks = [*openai.chunks("Hel", "lo"), *openai.end()]

    def script(request: Any) -> Answer:
        streamed = request.json.get("stream")
        return sse_answer(chunks) if streamed else json_answer(openai.completion())

    async with Upstream(script) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        plain = await ask(gateway)
        streamed = await ask(gateway, "order-2", stream=True)
        gateway.kill()
        gateway.start()
        again, streamed_again = await ask(gateway), await ask(gateway, "order-2", stream=True)
        assert statuses([again, streamed_again]) == [(200, "true")] * 2
        assert again.content == plain.content
        assert events(streamed_again) == events(streamed)
        assert events(streamed)[-1] == "data: [DONE]"
        assert "usage" not in streamed_again.text, "nobody asked for it"
        assert len(upstream.requests) == 2


async def test_a_providers_refusal_is_repeated_and_its_failure_is_not(
    start_gateway: StartGateway,
) -> None:
    refusal = json_answer(openai.error("No.", "invalid_request_error", None, "messages"), 400)
    answers = [refusal, json_answer({}, 500), json_answer(openai.completion())]

    async with Upstream(lambda _: answers.pop(0)) as upstream:
        config = fake_provider(upstream) + table("retry", max_attempts=1)
        gateway = await start_gateway(config)
        refused = [await ask(gateway), await ask(gateway)]
        assert statuses(refused) == [(400, None), (400, "true")]
        assert refused[0].json() == refused[1].json()
        failed = [await ask(gateway, "order-2"), await ask(gateway, "order-2")]
        assert statuses(failed) == [(500, None), (200, None)]
        assert answers == []


@pytest.mark.parametrize("stream", [False, True])
async def test_repetitions_join_the_running_call(start_gateway: StartGateway, stream: bool) -> None:
    go_on = asyncio.Event()
    if stream:
        first, *rest = [*openai.chunks("Hel", "lo"), *openai.end()]
        script = sse_answer([first, go_on, *rest])
    else:
        whole = json_answer(openai.completion())
        script = Answer((go_on, *whole.parts), headers=whole.headers)
    async with Upstream(script) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        tasks = [asyncio.create_task(ask(gateway, stream=stream)) for _ in range(10)]
        await upstream.asked.wait()
        late = asyncio.create_task(ask(gateway, stream=stream))
        go_on.set()
        answers = await asyncio.gather(*tasks, late)
        assert sorted(statuses(answers), key=str)[:10] == [(200, "true")] * 10
        assert len({answer.content for answer in answers}) == 1
        assert len(upstream.requests) == 1
        await gateway.ledger.until(lambda ledger: len(ledger.calls()) == 11)
        assert len(gateway.ledger.charges()) == 1


async def test_whoever_lost_the_connection_finds_the_call_again(
    start_gateway: StartGateway,
) -> None:
    go_on = asyncio.Event()
    whole = json_answer(openai.completion())
    async with Upstream(Answer((go_on, *whole.parts), headers=whole.headers)) as upstream:
        gateway = await start_gateway(fake_provider(upstream))
        first = asyncio.create_task(ask(gateway))
        await upstream.asked.wait()
        again = asyncio.create_task(ask(gateway))
        await joined(gateway)
        first.cancel()
        await asyncio.wait([first])
        await gateway.ledger.until(lambda ledger: len(ledger.calls()) == 1)
        assert gateway.ledger.calls()[0]["error"] == "client_gone"
        go_on.set()
        assert statuses([await again]) == [(200, "true")]
        assert len(upstream.requests) == 1
        (charge,) = gateway.ledger.charges()
        assert (charge["state"], charge["error"], charge["source"]) == ("settled", None, "provider")


async def joined(gateway: GatewayProcess) -> None:
    """Wait until two calls are in flight."""
    async with (
        httpx.AsyncClient(base_url=gateway.url) as client,
        asyncio.timeout(10),
    ):
        while "sluice_in_flight 2.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_crash_frees_the_key_of_its_call(start_gateway: StartGateway) -> None:
    whole = json_answer(openai.completion())
    answers = [Answer((Step.HANG,)), whole]
    async with Upstream(lambda _: answers.pop(0)) as upstream:
        config = fake_provider(upstream) + table("database", lease_s=2.0)
        gateway = await start_gateway(config)
        cut_off = asyncio.create_task(ask(gateway))
        await upstream.asked.wait()
        gateway.kill()
        gateway.start()
        await asyncio.wait([cut_off])
        async with asyncio.timeout(20):
            while (answer := await ask(gateway)).status_code == 409:
                assert answer.json()["error"]["code"] == "idempotency_in_progress"
                assert answer.headers["retry-after"] == "1"
                await asyncio.sleep(0.1)
        assert statuses([answer, await ask(gateway)]) == [(200, None), (200, "true")]
        assert cut_off.exception() is not None


async def test_a_large_answer_is_not_kept(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion("x" * 2000))) as upstream:
        config = fake_provider(upstream) + table("idempotency", max_answer_bytes=1000)
        gateway = await start_gateway(config)
        answers = [await ask(gateway), await ask(gateway)]
        assert statuses(answers) == [(200, None), (200, None)]
        assert len(upstream.requests) == 2
        row, _ = await gateway.ledger.ended(answers[0].headers["x-sluice-call-id"])
        assert '{"fact":"not_kept","size_bytes":' in row["facts"]
        assert gateway.ledger.query("SELECT * FROM idempotency") == []


async def test_switched_off_the_header_means_nothing(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        config = fake_provider(upstream) + table("idempotency", enabled=False)
        gateway = await start_gateway(config)
        assert statuses([await ask(gateway), await ask(gateway, "x" * 300)]) == [(200, None)] * 2
        assert len(upstream.requests) == 2
        assert gateway.ledger.query("SELECT * FROM idempotency") == []


async def test_of_several_workers_one_makes_the_call(start_gateway: StartGateway) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        gateway = await start_gateway(fake_provider(upstream), arguments=["--workers", "2"])
        answers = await asyncio.gather(*(ask(gateway) for _ in range(20)))
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len(upstream.requests) == 1
        assert statuses([await ask(gateway)]) == [(200, "true")]
