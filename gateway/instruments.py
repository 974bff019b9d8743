"""Instruments: which metrics are there, with which labels?

What each means is documented in `docs/metrics.md`. Where several workers share their figures
(`gateway.metricfiles`), counters and histograms are added up; a gauge says here how the values of
the workers make one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

# No second series beside each one: nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call] # untyped in the library

_FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TOKEN_S = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
_WAIT_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

Read = Callable[[], float]
Mode = Literal["livesum", "livemax", "livemin"]


class Live:
    """A figure that is read when somebody asks for it; there is none until one can be read."""

    def __init__(self, make: Callable[[], Gauge | Counter]) -> None:
        self._make = make
        self._shown: Gauge | Counter | None = None
        self._read: Read = float
        self._before = 0.0

    def set_function(self, read: Read) -> None:
        """Where the figure is read from now on. A counter's is how much there was in all."""
        self._read = read
        if self._shown is None:
            self._shown = self._make()

    def refresh(self) -> None:
        """Read it again."""
        if isinstance(self._shown, Gauge):
            self._shown.set(self._read())
        elif self._shown is not None:
            now = self._read()
            self._shown.inc(max(0.0, now - self._before))
            self._before = now


class Instruments:
    """Every metric, in `registry`. Attributes are called as the metrics are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.live: list[Live] = []
        self._of_calls()
        self._of_attempts()
        self._of_the_cache()
        self._of_the_ledger()
        self._of_the_process()

    def by_team(self) -> tuple[Counter, Counter, Counter]:
        """Calls, tokens and dollars of each team: as many series as there are teams."""
        return (
            self._counter("team_calls", "Calls of a team that have ended.", "team"),
            self._counter("team_tokens", "Tokens that a team has used.", "team", "kind"),
            self._counter("team_cost_usd", "Money that a team has spent.", "team"),
        )

    def _of_calls(self) -> None:
        self.calls = self._counter("calls", "Calls that have ended.", "model", "status")
        self.errors = self._counter("errors", "Calls that ended with an error.", "kind")
        self.limited = self._counter("limited", "Calls that a limit refused.", "limit")
        self.overruns = self._counter(
            "budget_overruns", "Attempts under a soft budget that is used up.", "budget"
        )
        self.first_event = self._histogram(
            "first_event_seconds", "From the request to a stream's first event.", _SLOW_S, "model"
        )
        self.per_token = self._histogram(
            "time_per_output_token_seconds",
            "Of a stream's time after its first event, what each further token took.",
            _TOKEN_S,
            "model",
        )
        self.duration = self._histogram(
            "duration_seconds", "From the request to the end of the answer.", _SLOW_S, "model"
        )
        self.overhead = self._histogram(
            "overhead_seconds", "Time until the answer that no provider took.", _FAST_S
        )
        self.queued = self._histogram(
            "queue_seconds", "How long a call waited for a limit to let it go on.", _WAIT_S
        )

    def _of_attempts(self) -> None:
        self.attempts = self._counter(
            "attempts", "Attempts at providers; error is empty if it went well.", "target", "error"
        )
        self.attempt_duration = self._histogram(
            "attempt_duration_seconds", "From sending to the end of an attempt.", _SLOW_S, "target"
        )
        self.retries = self._counter("retries", "Attempts beyond a call's first.", "target")
        self.tokens = self._counter("tokens", "Tokens used.", "target", "kind")
        self.cost = self._counter("cost_usd", "Money spent at providers.", "target")
        self.unpriced = self._counter("unpriced_attempts", "Attempts without a price.", "target")
        self.benched = Gauge(
            "sluice_target_benched",
            "1 while no calls are sent to a target for its failures, 0.5 while one is to tell.",
            ("target",),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self.credential_benched = Gauge(
            "sluice_credential_benched",
            "1 while no calls are made with a refused credential, 0.5 while one is to tell.",
            ("provider", "credential"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self.full = self._counter(
            "target_full", "How often a target was passed over for its limits.", "target"
        )
        self.hedges = self._counter(
            "hedges", "Second attempts beside slow ones, and who answered.", "target", "won"
        )

    def _of_the_cache(self) -> None:
        self.cached = self._counter("cache_calls", "Calls with the cache on.", "status")
        self.stored = self._counter("cache_stored", "Answers kept in the cache.")
        self.unreadable = self._counter("cache_unreadable", "Kept answers that did not open.")
        self.saved_tokens = self._counter("cache_saved_tokens", "Tokens not used again.")
        self.saved_cost = self._counter("cache_saved_usd", "Money not spent again.")
        self.redis = self._gauge("redis_available", "1 while Redis is used.", "livemin")

    def _of_the_ledger(self) -> None:
        self.ledger_queue = self._gauge(
            "ledger_queue", "Writes that wait for the ledger.", "livesum"
        )
        self.ledger_lag = self._gauge(
            "ledger_lag_seconds", "How long the oldest write has been waited for.", "livemax"
        )
        self.unsettled = self._gauge(
            "unsettled_attempts", "Attempts whose settlement failed, and is tried again.", "livesum"
        )
        self.abandoned = self._live_counter(
            "abandoned_settlements", "Settlements given up: swept at their bound."
        )
        self.dropped = self._live_counter(
            "ledger_dropped", "Rows of calls that the ledger could not take."
        )

    def _of_the_process(self) -> None:
        self.in_flight = self._gauge("in_flight", "Calls being served.", "livesum")
        self.slots = self._gauge("concurrency_slots", "Slots that calls hold.", "livesum")
        self.workers = self._gauge("workers", "Processes that serve.", "livesum")
        self.loop_lag = self._gauge(
            "event_loop_lag_seconds", "How late a timer was at most, lately.", "livemax"
        )
        self.cpu = self._live_counter("cpu_seconds", "CPU time used.")
        self.memory = self._gauge("resident_memory_bytes", "Memory in use.", "livesum")
        self.open_files = self._gauge("open_files", "Open files and connections.", "livemax")
        self.build = Gauge(
            "sluice_build_info",
            "1, with the version that runs.",
            ("version",),
            registry=self._registry,
            multiprocess_mode="livemax",
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sluice_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"sluice_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str, mode: Mode) -> Live:
        registry = self._registry
        return self._live(
            lambda: Gauge(f"sluice_{name}", text, registry=registry, multiprocess_mode=mode)
        )

    def _live_counter(self, name: str, text: str) -> Live:
        return self._live(lambda: self._counter(name, text))

    def _live(self, make: Callable[[], Gauge | Counter]) -> Live:
        self.live.append(Live(make))
        return self.live[-1]
