"""Telemetry, by a running gateway: what arrives at a collector, and what if there is none?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from gateway.config import ConfigError, Telemetry
from gateway.telemetry import is_on, open_telemetry, require
from tests.conftest import StartGateway
from tests.fakes.collector import Collector
from tests.fakes.openai import completion
from tests.fakes.upstream import Upstream, json_answer
from tests.gateway_process import FAKE_KEY, ROOT, GatewayProcess, fake_provider, table

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


async def ask(gateway: GatewayProcess, **headers: str) -> int:
    body = {"model": "fake/fake-model", "messages": [{"role": "user", "content": "the prompt"}]}
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=20) as client:
        key = {"authorization": f"Bearer {gateway.key}"}
        done = await client.post("/chat/completions", json=body, headers={**key, **headers})
        return done.status_code


async def test_spans_and_figures_arrive(start_gateway: StartGateway) -> None:
    script = json_answer(completion("the answer"))
    with Collector() as collector:
        async with Upstream(script) as upstream:
            gateway = await start_gateway(
                table("telemetry", otlp_endpoint=collector.url) + fake_provider(upstream),
                env={"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"},
            )
            assert await ask(gateway, traceparent=TRACEPARENT) == 200
            await asyncio.to_thread(gateway.stop)  # what is queued is sent
        spans = {span.kind: span for span in collector.spans()}
        client, server = spans[3], spans[2]  # SpanKind in the protocol
        assert client.name == "chat fake-model"
        assert client.parent_span_id == server.span_id
        assert server.parent_span_id.hex() == "b" * 16
        assert {span.trace_id.hex() for span in spans.values()} == {"a" * 32}
        sent = upstream.request.headers["traceparent"]
        assert sent == f"00-{'a' * 32}-{client.span_id.hex()}-01"
        (resource,) = collector.resources()
        assert resource["service.name"] == "sluice"
        assert resource["deployment.environment.name"] == "test"
        assert "gen_ai.client.operation.duration" in collector.metrics()
        everything = b"".join(body for _, body in collector.bodies)
        for secret in (FAKE_KEY, gateway.key, "the prompt", "the answer"):
            assert secret.encode() not in everything


async def test_content_arrives_where_it_is_asked_for(start_gateway: StartGateway) -> None:
    with Collector() as collector:
        async with Upstream(json_answer(completion("the answer"))) as upstream:
            settings = table("telemetry", content=True)
            gateway = await start_gateway(
                settings + fake_provider(upstream),
                env={
                    "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20collector-secret",
                    "OTEL_METRICS_EXPORTER": "none",
                    "OTEL_SERVICE_NAME": "our-gateway",
                },
            )
            assert await ask(gateway) == 200
            await asyncio.to_thread(gateway.stop)
        assert {headers["authorization"] for headers in collector.headers} == {
            "Bearer collector-secret"
        }
        assert collector.metrics() == set()
        assert collector.resources()[0]["service.name"] == "our-gateway"
        told = str(collector.spans())
        assert "the prompt" in told
        assert "the answer" in told


@pytest.mark.parametrize("how", ["gone", "refusing", "hanging"])
async def test_a_bad_collector_disturbs_nobody(start_gateway: StartGateway, how: str) -> None:
    with Collector(status=400, hang=how == "hanging") as collector:
        url = "http://user:collector-secret@127.0.0.1:1" if how == "gone" else collector.url
        async with Upstream(json_answer(completion("hi"))) as upstream:
            gateway = await start_gateway(
                table("telemetry", otlp_endpoint=url) + fake_provider(upstream),
                env={"OTEL_BSP_SCHEDULE_DELAY": "50"},
            )
            assert await ask(gateway) == 200
            if how != "gone":
                assert await asyncio.to_thread(collector.asked.wait, 10)
            assert await ask(gateway) == 200
            began = time.monotonic()
            assert await asyncio.to_thread(gateway.stop) == 0
            assert time.monotonic() - began < 12
    assert "telemetry: " in gateway.log()
    assert "collector-secret" not in gateway.log()
    assert "Traceback" not in gateway.log()
    assert "export" not in gateway.log()  # what OpenTelemetry itself would say, again and again


@pytest.mark.parametrize(
    ("settings", "environ", "on"),
    [
        ({}, {}, False),
        ({"content": True}, {}, False),
        ({"otlp_endpoint": "http://x"}, {}, True),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"otlp_endpoint": "http://x"}, {"OTEL_SDK_DISABLED": "True"}, False),
    ],
)
def test_it_is_on_where_a_collector_is_named(
    settings: dict[str, Any], environ: dict[str, str], on: bool
) -> None:
    assert is_on(Telemetry(**settings), environ) == on


async def test_nobody_is_told_where_it_is_off() -> None:
    async with open_telemetry(Telemetry(), {}, lambda target: target.name) as teller:
        assert teller is None


def test_what_cannot_be_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="must begin with http"):
        require(Telemetry(otlp_endpoint="localhost:4318"), {})
    monkeypatch.setitem(sys.modules, "gateway.telemetry.export", None)
    with pytest.raises(ConfigError, match=r"sluice-gateway\[otel\]"):
        require(Telemetry(otlp_endpoint="http://localhost:4318"), {})


def test_it_is_not_imported_where_it_is_off() -> None:
    program = "import sys, gateway.serving; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
