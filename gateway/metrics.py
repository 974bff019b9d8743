"""Metrics: what do all calls come to?

Names and labels are documented in `docs/metrics.md`, and made in `gateway/instruments.py`. Label
values come from the configuration only: a model that is neither an alias nor listed counts as
`other`, so that callers cannot make new time series.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from gateway.breaker import State
from gateway.budgets import BudgetOverrun
from gateway.cache.facts import Cached, Saved, Stored, Unreadable
from gateway.errors import SluiceError
from gateway.exchange import Call
from gateway.hedging import Hedged
from gateway.instruments import Instruments
from gateway.ledger import CallRecord
from gateway.limits.demand import Limited
from gateway.limits.targets import FULL
from gateway.record import NANO
from gateway.targets import Target
from gateway.trace import (
    AttemptAnswered,
    AttemptEnded,
    AttemptSent,
    AttemptStarted,
    Fact,
    Identified,
    Paused,
    Routed,
    Skipped,
)
from gateway.usage import Usage

OTHER = "other"
OPENMETRICS = "application/openmetrics-text"
_PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BENCHED: Mapping[State, float] = {"closed": 0.0, "probing": 0.5, "benched": 1.0}
M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """Counts the calls of one process. `models` are the names that may be labels.

    `shared` collects the figures of all workers where there are several: it is what is shown then.
    Exemplars, which name a call for a figure, cost a little for each call and are not shared: they
    are kept once somebody has asked for them, by one process that is alone.
    """

    def __init__(self, models: Collection[str], in_flight: Callable[[], int]) -> None:
        self._names = frozenset(models)
        self._children: dict[tuple[object, ...], Any] = {}
        self._exemplars = False
        # By class: to ask each fact whether it is of one of so many would cost as much again.
        self._counted: Mapping[type[Fact], Callable[[Any, _Tally], None]] = {
            AttemptStarted: self._started,
            AttemptSent: self._sent,
            AttemptAnswered: self._answered,
            AttemptEnded: self._ended,
            BudgetOverrun: self._overran,
            Hedged: self._hedged,
            Skipped: self._skipped,
            Paused: self._paused,
        }
        self._teams: tuple[Counter, Counter, Counter] | None = None
        self._benched: dict[str, Callable[[str], State]] = {}
        self._credentials: dict[tuple[str, str], Callable[[str, str], State]] = {}
        self.shared: Collector | None = None
        self.registry = CollectorRegistry()
        self.instruments = Instruments(self.registry)
        self.instruments.in_flight.set_function(in_flight)
        self.slots = self.instruments.slots
        self.redis = self.instruments.redis

    def call_ended(self, call: Call, record: CallRecord) -> None:
        """A sink of the Ledger policy."""
        on, model = self.instruments, self._model(call)
        exemplar = {"call_id": record.call_id} if self._exemplars else None
        self._child(on.calls, model, str(record.status)).inc()
        if record.error:
            self._child(on.errors, record.error).inc()
        self._child(on.duration, model).observe(record.duration_ms / 1000, exemplar)
        if record.first_event_ms is not None and record.stream:
            self._child(on.first_event, model).observe(record.first_event_ms / 1000, exemplar)
        if record.overhead_ms is not None:
            on.overhead.observe(record.overhead_ms / 1000)
        self._count_refusal(call)
        self._count_facts(call, _Tally(model, call.stream, exemplar))
        self._count_cache(call)
        if self._teams:
            self._count_team(call)

    def watch_health(self, targets: Collection[str], state: Callable[[str], State]) -> None:
        """Show the state of these targets, and no others, whenever somebody asks."""
        for gone in self._benched.keys() - set(targets):
            self.instruments.benched.labels(gone).set(0)
        self._benched = dict.fromkeys(targets, state)

    def watch_credentials(
        self, names: Collection[tuple[str, str]], state: Callable[[str, str], State]
    ) -> None:
        """The same of credentials, by the names of their providers and their own."""
        for gone in self._credentials.keys() - set(names):
            self.instruments.credential_benched.labels(*gone).set(0)
        self._credentials = dict.fromkeys(names, state)

    def know(self, models: Collection[str]) -> None:
        """From now on these names may be labels."""
        self._names = frozenset(models)

    def count_teams(self) -> None:
        """Count by team as well."""
        self._teams = self._teams or self.instruments.by_team()

    def refused(self, error: SluiceError) -> None:
        """A request that did not become a call: no key, or not a request at all."""
        self.instruments.errors.labels(error.kind).inc()

    def refresh(self) -> None:
        """Read what is not counted but looked at."""
        for live in self.instruments.live:
            live.refresh()
        for name, state in self._benched.items():
            self._child(self.instruments.benched, name).set(_BENCHED[state(name)])
        for names, of in self._credentials.items():
            self._child(self.instruments.credential_benched, *names).set(_BENCHED[of(*names)])

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """What is known, and its media type: OpenMetrics for those that accept it, else text.

        Touches nothing of the event loop's after `refresh`, so a thread may do it.
        """
        what = self.shared or self.registry
        if OPENMETRICS not in accept:
            return generate_latest(what), _PLAIN_TYPE
        self._exemplars = self.shared is None
        text: bytes = openmetrics.generate_latest(what)  # type: ignore[no-untyped-call] # untyped
        return text, openmetrics.CONTENT_TYPE_LATEST

    def _count_refusal(self, call: Call) -> None:
        limited = call.trace.last(Limited)
        if limited is not None and (limit := limited.verdict.refused_by) is not None:
            self._child(self.instruments.limited, f"{limit.scope}_{limit.kind}").inc()

    def _count_facts(self, call: Call, tally: _Tally) -> None:
        for fact in call.trace.facts:
            count = self._counted.get(type(fact))
            if count is not None:
                count(fact, tally)
        if tally.queued_s:
            self.instruments.queued.observe(tally.queued_s)

    def _started(self, fact: AttemptStarted, tally: _Tally) -> None:
        tally.attempts[fact.number] = attempt = _Attempt(self.name_of(fact.target))
        if fact.number > 1:
            self._child(self.instruments.retries, attempt.target).inc()

    def _sent(self, fact: AttemptSent, tally: _Tally) -> None:
        tally.attempts[fact.number].sent_s = fact.at_s

    def _answered(self, fact: AttemptAnswered, tally: _Tally) -> None:
        tally.attempts[fact.number].answered_s = fact.at_s if tally.stream else None

    def _ended(self, fact: AttemptEnded, tally: _Tally) -> None:
        on, attempt, usage = self.instruments, tally.attempts[fact.number], fact.usage
        self._child(on.attempts, attempt.target, fact.error or "").inc()
        if attempt.sent_s is not None:
            duration_s = fact.at_s - attempt.sent_s
            self._child(on.attempt_duration, attempt.target).observe(duration_s)
        if usage:
            self._count_usage(attempt.target, usage, fact.cost_nano_usd, tally.exemplar)
            if attempt.answered_s is not None:
                self._count_pace(tally.model, usage, fact.at_s - attempt.answered_s)

    def _overran(self, fact: BudgetOverrun, tally: _Tally) -> None:
        for budget in fact.budgets:
            self._child(self.instruments.overruns, budget).inc()

    def _hedged(self, fact: Hedged, tally: _Tally) -> None:
        self._child(self.instruments.hedges, self._label(fact.target), fact.won).inc()

    def _skipped(self, fact: Skipped, tally: _Tally) -> None:
        if fact.reason == FULL:
            self._child(self.instruments.full, self._label(fact.target)).inc()

    def _paused(self, fact: Paused, tally: _Tally) -> None:
        if not tally.attempts:
            tally.queued_s += fact.seconds

    def _count_cache(self, call: Call) -> None:
        cached = call.trace.last(Cached)
        if cached is None:
            return
        on = self.instruments
        self._child(on.cached, cached.status).inc()
        if stored := call.trace.all(Stored):
            on.stored.inc(len(stored))
        if unreadable := call.trace.all(Unreadable):
            on.unreadable.inc(len(unreadable))
        for saved in call.trace.all(Saved):
            on.saved_tokens.inc(saved.tokens)
            on.saved_cost.inc((saved.cost_nano_usd or 0) / NANO)

    def _count_usage(
        self, target: str, usage: Usage, cost_nano_usd: int | None, exemplar: dict[str, str] | None
    ) -> None:
        on = self.instruments
        for kind in ("prompt", "completion", "cached", "cache_write", "reasoning"):
            if count := getattr(usage, f"{kind}_tokens"):
                self._child(on.tokens, target, kind).inc(count)
        if cost_nano_usd is None:
            self._child(on.unpriced, target).inc()
        elif cost_nano_usd:
            self._child(on.cost, target).inc(cost_nano_usd / NANO, exemplar)

    def _count_pace(self, model: str, usage: Usage, after_first_s: float) -> None:
        """One token came with the first event, so the time after it was the others'."""
        if usage.source == "provider" and usage.completion_tokens > 1:
            each_s = after_first_s / (usage.completion_tokens - 1)
            self._child(self.instruments.per_token, model).observe(each_s)

    def _count_team(self, call: Call) -> None:
        known = call.trace.last(Identified)
        if self._teams is None or known is None:
            return
        calls, tokens, cost = self._teams
        team = known.key.team or ""
        self._child(calls, team).inc()
        for ended in call.trace.all(AttemptEnded):
            if ended.usage:
                self._child(tokens, team, "prompt").inc(ended.usage.prompt_tokens)
                self._child(tokens, team, "completion").inc(ended.usage.completion_tokens)
            self._child(cost, team).inc((ended.cost_nano_usd or 0) / NANO)

    def _child(self, metric: M, *labels: str) -> M:
        """`metric.labels(…)`, remembered: looking a child up there costs more than to count."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        known: M = child
        return known

    def name_of(self, target: Target) -> str:
        """Its name where it is a label."""
        return self._label(target.name)

    def _label(self, name: str) -> str:
        return name if name in self._names else f"{name.partition('/')[0]}/{OTHER}"

    def _model(self, call: Call) -> str:
        routed = call.trace.last(Routed)
        if routed is None:
            return OTHER
        name = routed.alias or (routed.candidates[0].name if routed.candidates else OTHER)
        return name if name in self._names else OTHER


class _Tally:
    """What is known of one call while its trace is read."""

    __slots__ = ("attempts", "exemplar", "model", "queued_s", "stream")

    def __init__(self, model: str, stream: bool, exemplar: dict[str, str] | None) -> None:
        self.model = model
        self.stream = stream
        self.exemplar = exemplar
        self.attempts: dict[int, _Attempt] = {}
        self.queued_s = 0.0


class _Attempt:
    """What is known of one attempt while its trace is read; `answered_s` of a stream only."""

    __slots__ = ("answered_s", "sent_s", "target")

    def __init__(self, target: str) -> None:
        self.target = target
        self.sent_s: float | None = None
        self.answered_s: float | None = None
