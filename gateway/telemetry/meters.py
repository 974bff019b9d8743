"""Meters: which figures does a collector get, by the conventions for generative AI?"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider
from opentelemetry.trace import Span, set_span_in_context

from gateway import __version__
from gateway.telemetry import Name
from gateway.telemetry import attributes as told
from gateway.telemetry.attempts import Attempt

_DURATION_S = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)
_FIRST_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
_TOKENS = tuple(4**power for power in range(14))


class Meters:
    """Figures of attempts: the gateway is a client of the providers."""

    def __init__(self, provider: MeterProvider, name: Name) -> None:
        self._meter = provider.get_meter("sluice", __version__)
        self._name = name
        self._duration = self._seconds(
            "gen_ai.client.operation.duration", "GenAI operation duration.", _DURATION_S
        )
        self._first = self._seconds(
            "gen_ai.client.operation.time_to_first_chunk",
            "Time to a stream's first chunk.",
            _FIRST_S,
        )
        self._tokens = self._meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def count(self, attempt: Attempt, span: Span, *, stream: bool) -> None:
        """One attempt that is over."""
        sent, answered, ended = attempt.sent, attempt.answered, attempt.ended
        if sent is None or ended is None:
            return
        provider = attempt.started.target.provider
        model = self._name(attempt.started.target).partition("/")[2]
        labels = told.of_operation(provider.kind, model, provider.base_url)
        within = set_span_in_context(span, Context())
        failed = {"error.type": ended.error} if ended.error else {}
        self._duration.record(ended.at_s - sent.at_s, {**labels, **failed}, within)
        if stream and answered is not None:
            self._first.record(answered.at_s - sent.at_s, labels, within)
        if ended.usage and ended.usage.source == "provider":
            counts = {"input": ended.usage.prompt_tokens, "output": ended.usage.completion_tokens}
            for kind, count in counts.items():
                self._tokens.record(count, {**labels, "gen_ai.token.type": kind}, within)

    def _seconds(self, name: str, text: str, bounds: tuple[float, ...]) -> Histogram:
        return self._meter.create_histogram(
            name, "s", text, explicit_bucket_boundaries_advisory=bounds
        )
