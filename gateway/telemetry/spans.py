"""Spans: what does a finished call look like to a tracing system?

One span for the call, and below it one for each attempt, made when the call is over with the times
that its trace holds: until then a call costs nothing but the header of each attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gateway import __version__
from gateway.exchange import Call, Handler, Reply
from gateway.ledger import CallRecord
from gateway.record import NANO
from gateway.telemetry import attributes as told
from gateway.telemetry import traces
from gateway.telemetry.answers import Answer, Observed
from gateway.telemetry.attempts import Attempt, attempts
from gateway.telemetry.meters import Meters

_S = 1_000_000_000


class GivenIds(IdGenerator):
    """The ids that the next span is to have."""

    trace_id = span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Spans:
    """`gateway.telemetry.Teller`. `ids` must be the provider's generator."""

    def __init__(
        self,
        provider: TracerProvider,
        ids: GivenIds,
        meters: Meters,
        *,
        content: bool,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = provider.get_tracer("sluice", __version__)
        self._sampler = provider.sampler
        self._ids = ids
        self._meters = meters
        self._content = content
        self._now_ns = now_ns

    def observed(self, lanes: Handler) -> Handler:
        async def observe(call: Call) -> Reply:
            if call.dry_run:
                return await lanes(call)
            seen = Observed(call.attempt, call.body, Answer(content=self._content))
            call.trace.add(seen)
            reply = await lanes(call.with_(headers=self._headers(call)))
            seen.answer.watch(reply)
            return reply

        return observe

    def call_ended(self, call: Call, record: CallRecord) -> None:
        end_ns = self._now_ns()
        began_ns = end_ns - int(call.trace.now_s() * _S)
        received_ns = min(began_ns, int(call.received_at * _S))
        self._ids.trace_id = traces.trace_id(call.id)
        self._ids.span_id = traces.call_span_id(call.id)
        span = self._tracer.start_span(
            "POST /v1/chat/completions",
            _context_of(call),
            SpanKind.SERVER,
            told.of_call(call, record),
            start_time=received_ns,
        )
        below = set_span_in_context(span, Context())
        for attempt in attempts(call):
            self._attempt(call, attempt, below, began_ns, end_ns)
        if record.error and (record.status >= 500 or record.status == 200):
            span.set_status(Status(StatusCode.ERROR, record.error))
        span.end(end_ns)

    def _attempt(
        self, call: Call, attempt: Attempt, above: Context, began_ns: int, end_ns: int
    ) -> None:
        target, ended = attempt.started.target, attempt.ended
        self._ids.span_id = traces.attempt_span_id(call.id, attempt.started.number)
        span = self._tracer.start_span(
            f"chat {target.model.name}",
            above,
            SpanKind.CLIENT,
            told.of_operation(target.provider.kind, target.model.name, target.provider.base_url),
            start_time=began_ns + int(attempt.started.at_s * _S),
        )
        self._meters.count(attempt, span, stream=call.stream)
        if span.is_recording():
            span.set_attributes(_learned(call, attempt))
            if attempt.observed and self._content:
                said = told.of_content(attempt.observed.body, attempt.observed.answer)
                span.set_attributes(said)
        if ended is not None and ended.error:
            span.set_attribute("error.type", ended.error)
            span.set_status(Status(StatusCode.ERROR, ended.error))
        span.end(end_ns if ended is None else began_ns + int(ended.at_s * _S))

    def _headers(self, call: Call) -> dict[str, str]:
        """The caller's, with the span of this attempt in the place of theirs."""
        headers, parent = dict(call.headers), traces.parent_of(call)
        if parent is None:
            headers.pop("tracestate", None)  # of a trace that is not there
        trace = parent.trace_id if parent else traces.trace_id(call.id)
        decided = self._sampler.should_sample(_context_of(call), trace, "", SpanKind.SERVER)
        headers["traceparent"] = traces.traceparent(
            trace,
            traces.attempt_span_id(call.id, call.attempt),
            sampled=decided.decision is Decision.RECORD_AND_SAMPLE,
        )
        return headers


def _context_of(call: Call) -> Context:
    parent = traces.parent_of(call)
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _learned(call: Call, attempt: Attempt) -> told.Attributes:
    ended, seen = attempt.ended, attempt.observed
    found: told.Attributes = {
        "sluice.attempt": attempt.started.number,
        "sluice.target": attempt.started.target.name,
        "sluice.credential": attempt.started.target.credential.name,
    }
    if seen is not None:
        found |= told.of_request(seen.body) | told.of_answer(seen.answer)
    if call.stream and attempt.sent and attempt.answered:
        waited_s = attempt.answered.at_s - attempt.sent.at_s
        found["gen_ai.response.time_to_first_chunk"] = waited_s
    if ended is not None and ended.usage:
        found |= told.of_usage(ended.usage)
        if ended.cost_nano_usd is not None:
            found["sluice.cost_usd"] = ended.cost_nano_usd / NANO
    return found
