"""Health: which targets are sick, which credentials are refused, and how busy are they?

A target (`provider/model`) is judged by failures that are its own: connection, time-out,
overload, server error, an answer that cannot be read. A credential is benched by itself, on an
empty account, a refused key or a missing permission (that one for its model only): its target may
be well with another one. Nothing else counts: neither what the caller asked for, nor a rate limit,
nor a refusal of ours, nor a time-out at the caller's own deadline.

A stream's first event ends a probe; whether it succeeded is known when it closes. All state is in
this process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Sequence
from types import TracebackType
from typing import NamedTuple

from gateway.breaker import Breaker, Rules, State
from gateway.config import Health as Settings
from gateway.errors import UpstreamFailure, UpstreamTimeout
from gateway.exchange import Completion, Ending, Reply
from gateway.load import Load
from gateway.targets import Target

SICK = frozenset({"connection", "timeout", "overloaded", "server_error", "response_parsing"})
BENCHED = frozenset({"quota_exceeded", "authentication", "permission"})

_KEPT = 4096  # breakers; callers name models as they like
_AT_DEADLINE_S = 0.05  # a loop's timers are not exact


class Seen(NamedTuple):
    """A breaker as it is looked at; attempts and failures of about the last window."""

    state: State
    benched_for_s: float | None
    attempts: int
    failures: int


class Refused(NamedTuple):
    """A credential that its provider refused: everywhere, or for one model."""

    provider: str
    credential: str
    model: str | None
    seen: Seen


class Health:
    """What this process knows of targets and credentials. Only failures make it remember."""

    def __init__(
        self,
        settings: Settings,
        *,
        load: Load | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.clock = clock or time.monotonic
        self.loop_clock = clock or _loop_time
        self.load = load or Load(self.clock)
        self._targets = _Breakers(
            Rules(
                consecutive_failures=settings.consecutive_failures,
                error_share=settings.error_share,
                min_attempts=settings.min_attempts,
                window_s=settings.window_s,
                bench_s=settings.bench_s,
                max_bench_s=settings.max_bench_s,
            ),
            self.clock,
        )
        self._credentials = _Breakers(
            Rules(
                consecutive_failures=1,
                error_share=1.0,
                min_attempts=1,
                window_s=settings.window_s,
                bench_s=settings.credential_bench_s,
                max_bench_s=settings.max_bench_s,
            ),
            self.clock,
        )

    def usable(self, target: Target) -> bool:
        """May an attempt go there now? Changes nothing."""
        breakers = self.of(target)
        return not breakers or all(breaker.usable(self.clock()) for breaker in breakers)

    def benched_at(self, target: Target) -> float:
        """Since when it is benched, on the clock of `clock`; infinity if it is not."""
        since = [b.benched_at for b in self.of(target) if b.benched_at is not None]
        return max(since, default=math.inf)

    def state(self, name: str) -> State:
        """The state of a target by its canonical name."""
        breaker = self._targets.known.get(name)
        return breaker.state(self.clock()) if breaker else "closed"

    def credential_state(self, provider: str, credential: str) -> State:
        """The state of a credential, as far as it concerns all models."""
        breaker = self._credentials.known.get((provider, credential))
        return breaker.state(self.clock()) if breaker else "closed"

    def names(self) -> list[str]:
        """The targets that have failed and are remembered."""
        return [str(name) for name in self._targets.known]

    def view(self, name: str) -> Seen:
        """What an operator sees of a target."""
        breaker = self._targets.known.get(name)
        return _seen(breaker, self.clock()) if breaker else Seen("closed", None, 0, 0)

    def refusals(self) -> list[Refused]:
        """The credentials that providers refused, with the model where it is of one only."""
        now = self.clock()
        return [
            Refused(key[0], key[1], key[2] if len(key) > 2 else None, _seen(breaker, now))
            for key, breaker in self._credentials.known.items()
            if isinstance(key, tuple) and breaker.benched_at is not None
        ]

    def reset(self, name: str) -> None:
        """Forget a target's failures, and those of its provider's credentials with it."""
        self._targets.known.pop(name, None)
        provider, _, model = name.partition("/")
        for key in tuple(self._credentials.known):
            if isinstance(key, tuple) and key[0] == provider and key[2:] in ((), (model,)):
                del self._credentials.known[key]

    def replaced(self, provider: str, credential: str) -> None:
        """There is another secret under this name: what the one before met says nothing of it."""
        for key in tuple(self._credentials.known):
            if isinstance(key, tuple) and key[:2] == (provider, credential):
                del self._credentials.known[key]

    def of(self, target: Target) -> Sequence[Breaker]:
        """The breakers that speak about a target: none while nothing has failed."""
        if not self._targets.known and not self._credentials.known:
            return ()
        found: list[Breaker] = []
        if breaker := self._targets.known.get(target.name):
            found.append(breaker)
        if self._credentials.known:
            known = self._credentials.known
            found += [known[key] for key in _credential_keys(target) if key in known]
        return found

    def sick(self, target: Target) -> Breaker:
        """The target's breaker, made at its first failure."""
        return self._targets.make(target.name)

    def refused(self, target: Target, kind: str) -> Breaker:
        """The breaker of its credential: of a missing permission, for this model only."""
        everywhere, here = _credential_keys(target)
        return self._credentials.make(here if kind == "permission" else everywhere)


def _seen(breaker: Breaker, now: float) -> Seen:
    state = breaker.state(now)
    attempts, failures = breaker.recent(now)
    return Seen(state, breaker.until - now if state == "benched" else None, attempts, failures)


class Attempt:
    """One attempt under observation. Leaving its `with` by an exception reports it.

    `deadline` is the call's, on the loop's clock. `answered` reports a reply; a stream goes on
    being observed until it closes.
    """

    __slots__ = ("_began", "_breakers", "_deadline", "_figures", "_health", "_target")

    def __init__(self, health: Health, target: Target, deadline: float) -> None:
        self._health = health
        self._target = target
        self._deadline = deadline

    def __enter__(self) -> Attempt:
        health = self._health
        self._began = health.clock()
        self._breakers = [(b, b.epoch, b.begin()) for b in health.of(self._target)]
        self._figures = health.load.of(self._target.name)
        self._figures.in_flight += 1
        return self

    def answered(self, reply: Reply) -> Reply:
        """The answer, or a stream's first event, is here."""
        now = self._health.clock()
        self._figures.answered(now - self._began, now)
        if isinstance(reply, Completion):
            self._figures.in_flight -= 1
            self._succeeded(now)
        else:
            for breaker, epoch, _ in self._breakers:
                if breaker.benched_at is not None:  # it lives; how the stream ends is told later
                    breaker.succeeded(now, epoch)
            reply.on_close(self._streamed)
        return reply

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for breaker, _, probe in self._breakers:
            breaker.probes -= probe
        if error is not None:
            self._figures.in_flight -= 1
            self._failed(error)

    async def _streamed(self, ending: Ending) -> None:
        self._figures.in_flight -= 1
        if ending.error is None:
            self._succeeded(self._health.clock())
        else:
            self._failed(ending.error)

    def _succeeded(self, now: float) -> None:
        for breaker, epoch, _ in self._breakers:
            breaker.succeeded(now, epoch)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, UpstreamFailure) or self._at_the_deadline(error):
            return
        if error.kind in SICK:
            breaker = self._health.sick(self._target)
        elif error.kind in BENCHED:
            breaker = self._health.refused(self._target, error.kind)
        else:
            return
        epoch = next((e for b, e, _ in self._breakers if b is breaker), 0)
        breaker.failed(self._health.clock(), epoch, error.retry_after_s or 0.0)

    def _at_the_deadline(self, error: UpstreamFailure) -> bool:
        """A time-out that the caller's own deadline made says nothing about the target."""
        if not isinstance(error, UpstreamTimeout):
            return False
        return self._health.loop_clock() >= self._deadline - _AT_DEADLINE_S


class _Breakers:
    """Breakers by key: those that have something to remember."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self.known: dict[Hashable, Breaker] = {}
        self._rules = rules
        self._clock = clock

    def make(self, key: Hashable) -> Breaker:
        breaker = self.known.get(key)
        if breaker is None:
            if len(self.known) >= _KEPT:
                del self.known[next(iter(self.known))]
            breaker = self.known[key] = Breaker(self._rules, self._clock())
        return breaker


def _credential_keys(target: Target) -> tuple[Hashable, Hashable]:
    whole = (target.provider.name, target.credential.name)
    return whole, (*whole, target.model.name)


def _loop_time() -> float:
    """The clock of deadlines."""
    return asyncio.get_running_loop().time()
