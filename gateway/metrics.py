"""Metrics: what do all calls of this process come to?

Names and labels are documented in `docs/metrics.md`. Label values come from the configuration
only: a model that is neither an alias nor listed counts as `other`, so that callers cannot make
new time series.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from gateway.breaker import State
from gateway.budgets import BudgetOverrun
from gateway.cache.facts import Cached, Saved, Stored
from gateway.errors import SluiceError
from gateway.exchange import Call
from gateway.ledger import CallRecord
from gateway.limits.demand import Limited
from gateway.record import NANO
from gateway.trace import AttemptEnded, AttemptStarted, Routed
from gateway.usage import Usage

OTHER = "other"
_BENCHED: Mapping[State, float] = {"closed": 0.0, "probing": 0.5, "benched": 1.0}
M = TypeVar("M", Counter, Histogram)

# No second series beside each one: nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call] # untyped in the library
_FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters and histograms of one process, in a registry of their own."""

    def __init__(self, models: Collection[str], in_flight: Callable[[], int]) -> None:
        self._names = frozenset(models)
        self._children: dict[tuple[object, ...], Any] = {}
        self.registry = CollectorRegistry()
        self._calls = self._counter("calls", "Calls that have ended.", "model", "status")
        self._errors = self._counter("errors", "Calls that ended with an error.", "kind")
        self._attempts = self._counter(
            "attempts", "Attempts at providers; error is empty if it went well.", "target", "error"
        )
        self._retries = self._counter("retries", "Attempts beyond a call's first.", "target")
        self._tokens = self._counter("tokens", "Tokens used.", "target", "kind")
        self._cost = self._counter("cost_usd", "Money spent at providers.", "target")
        self._unpriced = self._counter("unpriced_attempts", "Attempts without a price.", "target")
        self._overruns = self._counter(
            "budget_overruns", "Attempts under a soft budget that is used up.", "budget"
        )
        self._cached = self._counter("cache_calls", "Calls with the cache on.", "status")
        self._stored = self._counter("cache_stored", "Answers kept in the cache.")
        self._saved_tokens = self._counter("cache_saved_tokens", "Tokens not used again.")
        self._saved_cost = self._counter("cache_saved_usd", "Money not spent again.")
        self._first = self._histogram(
            "first_event_seconds", "From the request to a stream's first event.", _SLOW_S, "model"
        )
        self._duration = self._histogram(
            "duration_seconds", "From the request to the end of the answer.", _SLOW_S, "model"
        )
        self._overhead = self._histogram(
            "overhead_seconds", "Time until the answer that no provider took.", _FAST_S
        )
        self._benched = Gauge(
            "sluice_target_benched",
            "1 while no calls are sent to a target for its failures, 0.5 while one is to tell.",
            ("target",),
            registry=self.registry,
        )
        Gauge("sluice_in_flight", "Calls being served.", registry=self.registry).set_function(
            in_flight
        )
        self._limited = self._counter("limited", "Calls that a limit refused.", "limit")
        self.slots = self._gauge("concurrency_slots", "Slots that calls hold.")
        self.redis = self._gauge("redis_available", "1 while Redis is used.")

    def call_ended(self, call: Call, record: CallRecord) -> None:
        """A sink of the Ledger policy."""
        model = self._model(call)
        self._child(self._calls, model, str(record.status)).inc()
        if record.error:
            self._child(self._errors, record.error).inc()
        self._child(self._duration, model).observe(record.duration_ms / 1000)
        if record.first_event_ms is not None and record.stream:
            self._child(self._first, model).observe(record.first_event_ms / 1000)
        if record.overhead_ms is not None:
            self._overhead.observe(record.overhead_ms / 1000)
        self._count_refusal(call)
        self._count_attempts(call)
        self._count_cache(call)

    def know(self, models: Collection[str]) -> None:
        """From now on these names may be labels."""
        self._names = frozenset(models)

    def watch_health(self, targets: Collection[str], state: Callable[[str], State]) -> None:
        """Show the state of these targets whenever somebody asks."""
        for name in targets:
            self._benched.labels(name).set_function(partial(_benched, name, state))

    def refused(self, error: SluiceError) -> None:
        """A request that did not become a call: no key, or not a request at all."""
        self._errors.labels(error.kind).inc()

    def render(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

    def _count_refusal(self, call: Call) -> None:
        limited = call.trace.last(Limited)
        if limited is not None and (limit := limited.verdict.refused_by) is not None:
            self._child(self._limited, f"{limit.scope}_{limit.kind}").inc()

    def _count_attempts(self, call: Call) -> None:
        target = OTHER
        for fact in call.trace.facts:
            if isinstance(fact, AttemptStarted):
                name = fact.target.name
                target = name if name in self._names else f"{fact.target.provider.name}/{OTHER}"
                if fact.number > 1:
                    self._child(self._retries, target).inc()
            elif isinstance(fact, BudgetOverrun):
                for budget in fact.budgets:
                    self._child(self._overruns, budget).inc()
            elif isinstance(fact, AttemptEnded):
                self._child(self._attempts, target, fact.error or "").inc()
                if fact.usage:
                    self._count_usage(target, fact.usage, fact.cost_nano_usd)

    def _count_cache(self, call: Call) -> None:
        cached = call.trace.last(Cached)
        if cached is None:
            return
        self._child(self._cached, cached.status).inc()
        self._stored.inc(len(call.trace.all(Stored)))
        for saved in call.trace.all(Saved):
            self._saved_tokens.inc(saved.tokens)
            self._saved_cost.inc((saved.cost_nano_usd or 0) / NANO)

    def _count_usage(self, target: str, usage: Usage, cost_nano_usd: int | None) -> None:
        for kind in ("prompt", "completion", "cached", "cache_write", "reasoning"):
            if count := getattr(usage, f"{kind}_tokens"):
                self._child(self._tokens, target, kind).inc(count)
        if cost_nano_usd is None:
            self._child(self._unpriced, target).inc()
        elif cost_nano_usd:
            self._child(self._cost, target).inc(cost_nano_usd / NANO)

    def _child(self, metric: M, *labels: str) -> M:
        """`metric.labels(…)`, remembered: looking a child up there costs more than to count."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        known: M = child
        return known

    def _model(self, call: Call) -> str:
        routed = call.trace.last(Routed)
        if routed is None:
            return OTHER
        name = routed.alias or (routed.targets[0] if routed.targets else OTHER)
        return name if name in self._names else OTHER

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sluice_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"sluice_{name}", text, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"sluice_{name}", text, labels, buckets=buckets, registry=self.registry)


def _benched(name: str, state: Callable[[str], State]) -> float:
    return _BENCHED[state(name)]
