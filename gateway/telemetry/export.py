"""Export: how do spans and figures reach the collector without ever disturbing a call?

They wait in bounded queues, which threads of OpenTelemetry's send off; what does not fit is lost.
All else is set by OpenTelemetry's own variables (docs/telemetry.md).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway import __version__
from gateway.config import Telemetry
from gateway.telemetry import Name, Teller
from gateway.telemetry.meters import Meters
from gateway.telemetry.spans import GivenIds, Spans

log = logging.getLogger("sluice")

_LAST_WORDS_S = 3.0


class Reported:
    """Says once that the collector takes nothing, and once that it does again.

    OpenTelemetry's own messages are not logged: they repeat, and may hold the whole address.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._taken = True

    def note(self, *, taken: bool) -> None:
        if taken != self._taken:
            self._taken = taken
            log.warning(
                "telemetry: the collector %s %s", "takes" if taken else "does not take", self._what
            )


class ReportedSpans(SpanExporter):
    """A span exporter whose failures are reported, and go no further."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._reported = Reported("spans")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._reported.note(taken=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class ReportedMetrics(OTLPMetricExporter):
    """The same for figures."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._reported = Reported("metrics")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self._reported.note(taken=result is MetricExportResult.SUCCESS)
        return result


@asynccontextmanager
async def exporting(
    settings: Telemetry, environ: Mapping[str, str], name: Name
) -> AsyncIterator[Teller]:
    """Tell the collector until this ends; what is queued then has a moment to be sent."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    resource, ids, readers = _resource(), GivenIds(), list[MetricReader]()
    tracers = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    if address := _address(settings.otlp_endpoint, "traces", environ):
        exporter = ReportedSpans(OTLPSpanExporter(endpoint=address))
        tracers.add_span_processor(BatchSpanProcessor(exporter))
    if address := _address(settings.otlp_endpoint, "metrics", environ):
        readers.append(PeriodicExportingMetricReader(ReportedMetrics(endpoint=address)))
    meters = MeterProvider(readers, resource, shutdown_on_exit=False)
    try:
        yield Spans(tracers, ids, Meters(meters, name), content=settings.content)
    finally:
        await _within(_LAST_WORDS_S, tracers.shutdown, meters.shutdown)


def _address(endpoint: str | None, signal: str, environ: Mapping[str, str]) -> str | None:
    """Where spans ("traces") or figures ("metrics") go; None where they are not wanted."""
    if environ.get(f"OTEL_{signal.upper()}_EXPORTER") == "none":
        return None
    if endpoint:
        return f"{endpoint.rstrip('/')}/v1/{signal}"
    if own := environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"):
        return own
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return f"{base.rstrip('/')}/v1/{signal}" if base else None


def _resource() -> Resource:
    """Who tells. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over what stands here."""
    own = Resource(
        {
            "service.name": "sluice",
            "service.version": __version__,
            "service.instance.id": str(uuid.uuid4()),  # each worker is one
        }
    )
    named = Resource.create()
    unknown = str(named.attributes.get("service.name", "")).startswith("unknown_service")
    return named.merge(own) if unknown else own.merge(named)


async def _within(limit_s: float, *steps: Callable[[], object]) -> None:
    """Run these, but wait no longer. The thread is a daemon: a collector that hangs holds none."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def run() -> None:
        for step in steps:
            step()
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="sluice-telemetry", daemon=True).start()
    try:
        async with asyncio.timeout(limit_s):
            await done.wait()
    except TimeoutError:
        log.warning("telemetry: what was queued could not be sent in time")
