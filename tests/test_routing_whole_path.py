"""Does a gateway as its users run it pass over what is sick, and use its credentials in turn?"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, Upstream, json_answer
from tests.gateway_process import GatewayProcess, fake_provider, table

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
SERVED = "x-sluice-provider"


def client(gateway: GatewayProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=gateway.base_url, headers={"authorization": f"Bearer {gateway.key}"}
    )


def broken(request: Request) -> Answer:
    return json_answer({"error": {"message": "no"}}, status=500)


async def test_a_target_that_fails_is_benched_and_the_metrics_say_so(
    start_gateway: StartGateway,
) -> None:
    async with Upstream(broken) as sick, Upstream(json_answer(openai.completion())) as well:
        config = [
            table("retry", base_s=0.01),
            table("health", consecutive_failures=3, bench_s=60),
            fake_provider(sick, "a", models=["m"]),
            fake_provider(well, "b", models=["m"]),
            table("models.both", targets=["a/m", {"target": "b/m", "priority": 1}]),
        ]
        gateway = await start_gateway("\n".join(config))
        async with client(gateway) as http:
            answers = [
                await http.post("/chat/completions", json={"model": "both", **HELLO})
                for _ in range(4)
            ]
            metrics = await http.get(gateway.url + "/metrics")
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers[SERVED] for answer in answers] == ["b"] * 4
    assert [answer.headers["x-sluice-attempts"] for answer in answers] == ["4", "1", "1", "1"]
    assert len(sick.requests) == 3
    assert 'sluice_target_benched{target="a/m"} 1.0' in metrics.text
    assert 'sluice_target_benched{target="b/m"} 0.0' in metrics.text


async def test_credentials_serve_in_turn_and_one_that_is_refused_is_left_out(
    start_gateway: StartGateway,
) -> None:
    def script(request: Request) -> Answer:
        if request.headers["authorization"] == "Bearer second-secret":
            return json_answer({"error": {"message": "no", "code": "invalid_api_key"}}, status=401)
        return json_answer(openai.completion())

    async with Upstream(script) as upstream:
        provider = fake_provider(
            upstream,
            "a",
            models=["m"],
            rotate=["second", "third"],
            credentials={"second": "second-secret", "third": "third-secret"},
        )
        gateway = await start_gateway(provider)
        async with client(gateway) as http:
            answers = [
                await http.post("/chat/completions", json={"model": "a/m", **HELLO})
                for _ in range(40)
            ]
            metrics = await http.get(gateway.url + "/metrics")
    assert 'sluice_credential_benched{credential="second",provider="a"} 1.0' in metrics.text
    assert 'sluice_credential_benched{credential="third",provider="a"} 0.0' in metrics.text
    assert {answer.status_code for answer in answers} == {200}
    seen = Counter(request.headers["authorization"] for request in upstream.requests)
    assert seen["Bearer second-secret"] == 1
    assert len(seen) == 3
    assert min(seen["Bearer third-secret"], 40 - seen["Bearer third-secret"]) >= 5


async def test_a_target_without_room_is_passed_over_and_all_of_them_are_a_refusal(
    start_gateway: StartGateway,
) -> None:
    async with Upstream(json_answer(openai.completion())) as upstream:
        config = [
            fake_provider(upstream, "a", models=["m"]),
            fake_provider(upstream, "b", models=["m"]),
            table("models.both", targets=["a/m", "b/m"]),
            '[limits.targets."a/m"]\nrpm = 2',
            '[limits.targets."b/*"]\nrpm = 1',
        ]
        gateway = await start_gateway("\n".join(config))
        async with client(gateway) as http:
            answers = [
                await http.post("/chat/completions", json={"model": "both", **HELLO})
                for _ in range(4)
            ]
            metrics = await http.get(gateway.url + "/metrics")
    assert [answer.headers.get(SERVED) for answer in answers] == ["a", "a", "b", None]
    assert [answer.headers.get("x-sluice-attempts") for answer in answers] == ["1"] * 3 + [None]
    assert answers[3].status_code == 429
    assert answers[3].json()["error"]["code"] == "rate_limit_exceeded"
    assert 28_000 <= int(answers[3].headers["retry-after-ms"]) <= 30_000
    assert len(upstream.requests) == 3
    assert 'sluice_target_full_total{target="a/m"} 2.0' in metrics.text


async def test_a_slow_answer_is_overtaken_by_a_second_attempt(start_gateway: StartGateway) -> None:
    fast = json_answer(openai.completion())
    usual = iter([fast] * 20)
    never = Answer(parts=[asyncio.Event()])
    async with Upstream(lambda _: next(usual, never)) as slow, Upstream(fast) as well:
        config = [
            table("retry", hedge_percentile=95.0, hedge_min_s=0.05),
            fake_provider(slow, "a", models=["m"]),
            fake_provider(well, "b", models=["m"]),
            table("models.both", targets=["a/m", "b/m"]),
        ]
        gateway = await start_gateway("\n".join(config))
        async with client(gateway) as http:
            answers = [
                await http.post("/chat/completions", json={"model": "both", **HELLO})
                for _ in range(21)
            ]
            metrics = await http.get(gateway.url + "/metrics")
    assert [answer.headers[SERVED] for answer in answers] == ["a"] * 20 + ["b"]
    assert answers[20].headers["x-sluice-attempts"] == "2"
    assert 'sluice_hedges_total{target="a/m",won="hedge"} 1.0' in metrics.text
    assert 'sluice_attempts_total{error="hedge_lost",target="a/m"} 1.0' in metrics.text
