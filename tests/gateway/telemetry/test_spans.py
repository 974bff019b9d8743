"""What does a finished call look like to a tracing system?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from gateway.errors import RateLimited, SluiceError
from gateway.exchange import Call, Reply
from gateway.record import call_record
from gateway.telemetry import traces
from gateway.telemetry.meters import Meters
from gateway.telemetry.spans import GivenIds, Spans
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, AttemptStarted
from gateway.usage import Usage
from tests.builders import call, completion, target

USAGE = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=5)
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


class Collector:
    """Spans and figures as they would be exported."""

    def __init__(self, *, content: bool = False, **tracing: Any) -> None:
        self._exporter, self._reader, ids = (
            InMemorySpanExporter(),
            InMemoryMetricReader(),
            GivenIds(),
        )
        provider = TracerProvider(id_generator=ids, shutdown_on_exit=False, **tracing)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.teller = Spans(
            provider, ids, Meters(meters, lambda at: f"{at.provider.name}/other"), content=content
        )
        self.sent: list[Mapping[str, str]] = []

    async def serve(self, asked: Call, *answers: Reply | SluiceError, status: int = 200) -> None:
        """A call with so many attempts."""
        for number, answer in enumerate(answers, 1):
            await self._attempt(asked, number, answer)
        error = answers[-1].kind if answers and isinstance(answers[-1], SluiceError) else None
        self.teller.call_ended(asked, call_record(asked, status, error))

    async def _attempt(self, asked: Call, number: int, answer: Reply | SluiceError) -> None:
        at, trace = (
            target("p/model", kind="openai", base_url="https://u:pw@host.test/v1?k=s"),
            asked.trace,
        )
        trace.add(AttemptStarted(number, at, trace.now_s()))

        async def lanes(sent: Call) -> Reply:
            self.sent.append(sent.headers)
            trace.add(AttemptSent(number, trace.now_s()))
            if isinstance(answer, SluiceError):
                raise answer
            trace.add(AttemptAnswered(number, trace.now_s()))
            return answer

        failed = answer.kind if isinstance(answer, SluiceError) else None
        with suppress(SluiceError):
            await self.teller.observed(lanes)(asked.with_(target=at, attempt=number))
        usage = None if failed else USAGE
        cost = 0 if failed else 30_000
        trace.add(
            AttemptEnded(
                number=number,
                charge_id=f"c.{number}",
                at_s=trace.now_s(),
                error=failed,
                usage=usage,
                cost_nano_usd=cost,
            )
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Attempts first."""
        return self._exporter.get_finished_spans()

    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        (resource,) = data.resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def context(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


async def test_a_call_is_a_span_and_its_attempts_are_below_it() -> None:
    collector = Collector()
    await collector.serve(call(), RateLimited("slow down"), completion())
    first, second, whole = collector.spans
    assert [span.kind for span in (first, second, whole)] == [
        *(SpanKind.CLIENT, SpanKind.CLIENT),
        SpanKind.SERVER,
    ]
    assert whole.parent is None
    assert context(whole).trace_id == traces.trace_id("call_1")
    for span in (first, second):
        assert span.name == "chat model"
        assert span.parent == context(whole)
        assert (whole.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0)
        assert (span.end_time or 0) <= (whole.end_time or 0)
    assert attributes(first)["error.type"] == "rate_limit"
    assert first.status.status_code is StatusCode.ERROR
    assert second.status.status_code is StatusCode.UNSET


async def test_an_attempt_says_what_the_conventions_ask_for() -> None:
    collector = Collector()
    asked = call(body={"temperature": 1, "max_tokens": 7, "n": 2, "stop": ["secret"]})
    await collector.serve(asked, completion())
    told = attributes(collector.spans[0])
    assert (
        told
        | {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "model",
            "gen_ai.request.temperature": 1.0,
            "gen_ai.request.max_tokens": 7,
            "gen_ai.request.choice.count": 2,
            "gen_ai.request.stream": False,
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "server.address": "host.test",
            "server.port": 443,
            "sluice.cost_usd": 0.00003,
        }
        == told
    )
    assert not {"secret", "pw", "k=s"} & {str(value) for value in told.values()}


async def test_a_call_says_who_and_what_came_of_it() -> None:
    collector = Collector()
    await collector.serve(call(), completion())
    told = attributes(collector.spans[-1])
    assert told["http.response.status_code"] == 200
    assert told["http.route"] == "/v1/chat/completions"
    assert told["sluice.call_id"] == "call_1"
    assert told["sluice.attempts"] == 1
    assert "error.type" not in told


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, StatusCode.UNSET), (502, StatusCode.ERROR), (200, StatusCode.ERROR)],
)
async def test_a_refusal_is_the_callers_error_and_not_ours(
    status: int, expected: StatusCode
) -> None:
    collector = Collector()
    await collector.serve(call(), RateLimited("x"), status=status)
    assert collector.spans[-1].status.status_code is expected
    assert attributes(collector.spans[-1])["error.type"] == "rate_limit"


async def test_the_callers_trace_goes_on_and_the_provider_is_told_of_the_attempt() -> None:
    collector = Collector()
    asked = call(headers={"traceparent": PARENT, "tracestate": "a=b"})
    await collector.serve(asked, RateLimited("x"), completion())
    *attempts, whole = collector.spans
    assert whole.parent is not None
    assert f"{whole.parent.span_id:x}" == "b" * 16
    assert {f"{context(span).trace_id:x}" for span in collector.spans} == {"a" * 32}
    assert [headers["traceparent"] for headers in collector.sent] == [
        f"00-{'a' * 32}-{context(span).span_id:016x}-01" for span in attempts
    ]
    assert {headers["tracestate"] for headers in collector.sent} == {"a=b"}


async def test_a_trace_that_is_none_is_not_passed_on() -> None:
    collector = Collector()
    await collector.serve(call(headers={"traceparent": "?", "tracestate": "a=b"}), completion())
    (headers,) = collector.sent
    assert headers["traceparent"].startswith(f"00-{traces.trace_id('call_1'):032x}-")
    assert "tracestate" not in headers


@pytest.mark.parametrize(("flags", "spans"), [("00", 0), ("01", 2)])
async def test_what_the_caller_does_not_sample_is_not_exported(flags: str, spans: int) -> None:
    collector = Collector()
    await collector.serve(call(headers={"traceparent": PARENT[:-2] + flags}), completion())
    assert len(collector.spans) == spans
    assert collector.sent[0]["traceparent"].endswith(f"-{flags}")
    assert len(collector.points()["gen_ai.client.operation.duration"]) == 1  # figures are whole


async def test_what_the_sampler_leaves_out_is_told_to_the_provider() -> None:
    collector = Collector(sampler=ParentBased(ALWAYS_OFF))
    await collector.serve(call(), completion())
    assert collector.spans == ()
    assert collector.sent[0]["traceparent"].endswith("-00")


async def test_content_is_there_only_when_asked_for() -> None:
    for content in (False, True):
        collector = Collector(content=content)
        await collector.serve(call("the prompt"), completion("the answer"))
        told = str([attributes(span) for span in collector.spans])
        assert ("the prompt" in told) == ("the answer" in told) == content
    written = json.loads(attributes(collector.spans[0])["gen_ai.input.messages"])
    assert written == [{"role": "user", "parts": [{"type": "text", "content": "the prompt"}]}]


async def test_a_refused_call_has_one_span() -> None:
    collector = Collector()
    asked = call()
    collector.teller.call_ended(asked, call_record(asked, 404, "model_not_found"))
    (span,) = collector.spans
    assert attributes(span)["error.type"] == "model_not_found"


async def test_figures_have_bounded_labels() -> None:
    collector = Collector()
    await collector.serve(call(stream=True), RateLimited("x"), completion())
    points = collector.points()
    assert set(points) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
    }
    labels = [dict(point.attributes) for point in points["gen_ai.client.operation.duration"]]
    assert {label.get("error.type") for label in labels} == {"rate_limit", None}
    assert {label["gen_ai.request.model"] for label in labels} == {"other"}
    assert {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in points["gen_ai.client.token.usage"]
    } == {"input": 10, "output": 5}
    (first,) = points["gen_ai.client.operation.time_to_first_chunk"]
    assert first.count == 1


async def test_an_explanation_is_not_told() -> None:
    collector = Collector()
    asked = call(dry_run=True)

    async def lanes(sent: Call) -> Reply:
        assert "traceparent" not in sent.headers
        return completion()

    await collector.teller.observed(lanes)(asked)
    assert asked.trace.facts == []
