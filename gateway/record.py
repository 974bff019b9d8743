"""The views of a trace: what stands in the ledger row, and what is told in headers?"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

import orjson

from gateway.budgets import BudgetOverrun
from gateway.cache.facts import Cached, Saved
from gateway.exchange import Call
from gateway.idempotency import Replayed
from gateway.ledger import CallRecord
from gateway.limits.demand import Limited
from gateway.trace import (
    AttemptAnswered,
    AttemptEnded,
    AttemptSent,
    AttemptStarted,
    Paused,
    Routed,
    Trace,
)
from gateway.window import Truncated

NANO = 1_000_000_000
# The names of OpenAI's headers, so that clients which read those understand ours.
_RATE_HEADERS = {
    "requests": (
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    "tokens": (
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ),
}


class Attempts(NamedTuple):
    """What the attempts of a call come to. `served` is the target's name if one answered."""

    made: int
    served: str | None
    answered_s: float | None
    overhead_ms: float | None


def attempts(trace: Trace) -> Attempts:
    """Sum up a trace. The overhead is the time until the answer that no provider took."""
    made, served, answered_s = 0, None, None
    paused_s = sent_s = 0.0
    waits: list[tuple[float, float]] = []
    for fact in trace.facts:
        if isinstance(fact, AttemptStarted):
            made, served = made + 1, fact.target.name
            answered_s = None
        elif isinstance(fact, AttemptSent):
            sent_s = fact.at_s
        elif isinstance(fact, AttemptAnswered):
            answered_s = fact.at_s
            waits.append((sent_s, answered_s))
        elif isinstance(fact, AttemptEnded) and answered_s is None:
            waits.append((sent_s, fact.at_s))
        elif isinstance(fact, Paused):
            paused_s += fact.seconds
    if answered_s is None:
        return Attempts(made, None, None, None)
    ours_s = answered_s - paused_s - _covered(waits, answered_s)
    return Attempts(made, served, answered_s, max(0.0, ours_s * 1000))


def _covered(waits: list[tuple[float, float]], until_s: float) -> float:
    """How long somebody was waited for: attempts may run beside each other."""
    covered_s = reached_s = 0.0
    for began_s, ended_s in sorted(waits):
        end_s = min(ended_s, until_s)
        covered_s += max(0.0, end_s - max(began_s, reached_s))
        reached_s = max(reached_s, end_s)
    return covered_s


def call_record(call: Call, status: int, error: str | None) -> CallRecord:
    """The row of a call that has ended."""
    trace = call.trace
    seen = attempts(trace)
    routed = trace.last(Routed)
    cached = trace.last(Cached)
    saved = trace.last(Saved) if cached is not None else None
    return CallRecord(
        call_id=call.id,
        received_at_ms=int(call.received_at * 1000),
        key_id=call.key.id if call.key else "",
        team=call.key.team if call.key else None,
        tags=call.tags,
        asked_model=call.model,
        alias=routed.alias if routed else None,
        target=seen.served,
        stream=call.stream,
        status=status,
        error=error,
        attempts=seen.made,
        first_event_ms=None if seen.answered_s is None else round(seen.answered_s * 1000),
        duration_ms=round(trace.now_s() * 1000),
        overhead_ms=None if seen.overhead_ms is None else round(seen.overhead_ms, 3),
        facts=orjson.dumps(trace.describe()).decode(),
        cache=cached.status if cached is not None else None,
        saved_nano_usd=saved.cost_nano_usd if saved is not None else None,
        saved_tokens=saved.tokens if saved is not None else None,
    )


def trace_headers(call_id: str, trace: Trace) -> dict[str, str]:
    """The `x-sluice-…` headers: what is known when the answer's head goes out."""
    headers = {"x-request-id": call_id, "x-sluice-call-id": call_id}
    seen = attempts(trace)
    if seen.made:
        headers["x-sluice-attempts"] = str(seen.made)
    if trace.last(Replayed) is not None:
        headers["x-sluice-idempotent-replay"] = "true"
    if seen.served is not None:
        provider, _, model = seen.served.partition("/")
        headers["x-sluice-provider"] = _in_header(provider)
        headers["x-sluice-model"] = _in_header(model)
    if seen.overhead_ms is not None:
        headers["x-sluice-overhead-ms"] = f"{seen.overhead_ms:.2f}"
    if overrun := trace.last(BudgetOverrun):
        headers["x-sluice-budget-warning"] = ", ".join(map(_in_header, overrun.budgets))
    headers |= _cache_headers(trace)
    if (truncated := trace.last(Truncated)) is not None:
        headers["x-sluice-truncated"] = truncated.header()
    costs = [ended.cost_nano_usd for ended in trace.all(AttemptEnded)]
    if costs and len(costs) == seen.made and None not in costs:
        headers["x-sluice-cost-usd"] = usd(sum(cost or 0 for cost in costs))
    limited = trace.last(Limited)
    return headers if limited is None else {**headers, **_rate_headers(limited)}


def _rate_headers(limited: Limited) -> dict[str, str]:
    """Of each kind of rate, the limit of which least is left."""
    headers: dict[str, str] = {}
    for kind, (limit, remaining, reset) in _RATE_HEADERS.items():
        levels = [level for level in limited.verdict.levels if level.limit.kind == kind]
        if levels:
            tightest = min(levels, key=lambda level: level.remaining)
            headers[limit] = str(tightest.limit.amount)
            headers[remaining] = str(tightest.remaining)
            headers[reset] = f"{tightest.reset_s:.3f}s"
    return headers


def _cache_headers(trace: Trace) -> dict[str, str]:
    """What the cache did; an answer that it gave costs nothing."""
    cached = trace.last(Cached)
    if cached is None:
        return {}
    headers: dict[str, str] = {"x-sluice-cache": cached.status}
    if cached.status in ("hit", "coalesced"):
        headers["x-sluice-cost-usd"] = usd(0)
    saved = trace.last(Saved)
    if saved is not None and saved.cost_nano_usd is not None:
        headers["x-sluice-saved-usd"] = usd(saved.cost_nano_usd)
    return headers


def _in_header(name: str) -> str:
    """A caller may name any model: what is no header text is percent-encoded."""
    return name if name.isascii() and name.isprintable() else quote(name)


def usd(nano_usd: int) -> str:
    """Nano-dollars as a decimal number of dollars, exactly: `0.000001200`."""
    sign = "-" if nano_usd < 0 else ""
    whole, fraction = divmod(abs(nano_usd), NANO)
    return f"{sign}{whole}.{fraction:09d}"
