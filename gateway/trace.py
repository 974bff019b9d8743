"""The trace: what has the path learned about a call?

Facts are only ever added. The ledger row, the answer's headers, the log line and the metrics are
views of one trace; a policy that learns something new defines its own kind of fact.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from gateway.frozen import frozen
from gateway.keys import VirtualKey
from gateway.targets import Target
from gateway.usage import Usage

JSON = dict[str, Any]
F = TypeVar("F", bound="Fact")


class Fact:
    """One thing that the path has learned about a call. Facts are only ever added.

    An answer is not kept for other calls if a fact says that it is not `storable`: it was cut
    off, or is not what was asked for.
    """

    __slots__ = ()
    storable: ClassVar[bool] = True

    def describe(self) -> JSON:
        """What may be stored and shown: never a secret or a prompt."""
        raise NotImplementedError


@frozen
class Identified(Fact):
    """Whose call this is."""

    key: VirtualKey

    def describe(self) -> JSON:
        return {"fact": "identified", "key": self.key.id, "team": self.key.team}


@frozen
class Routed(Fact):
    """Which targets may serve the model that was asked for, in order of preference."""

    model: str
    alias: str | None
    candidates: tuple[Target, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(target.name for target in self.candidates)

    def describe(self) -> JSON:
        return {"fact": "routed", "alias": self.alias, "targets": self.targets}


@frozen
class Skipped(Fact):
    """A target was passed over; `reason` is a short word such as `vision`."""

    target: str
    reason: str

    def describe(self) -> JSON:
        return {"fact": "skipped", "target": self.target, "reason": self.reason}


@frozen
class Paused(Fact):
    """Retry waited before the next attempt."""

    seconds: float

    def describe(self) -> JSON:
        return {"fact": "paused", "ms": int(self.seconds * 1e3)}


@frozen
class AttemptStarted(Fact):
    """An attempt at a target begins. Numbers count from 1; times are seconds since the start."""

    number: int
    target: Target
    at_s: float

    def describe(self) -> JSON:
        return {
            "fact": "attempt_started",
            "number": self.number,
            "target": self.target.name,
            "credential": self.target.credential.name,
            "at_us": int(self.at_s * 1e6),
        }


@frozen
class AttemptSent(Fact):
    """The attempt is handed to its lane now."""

    number: int
    at_s: float

    def describe(self) -> JSON:
        return {"fact": "attempt_sent", "number": self.number, "at_us": int(self.at_s * 1e6)}


@frozen
class NeverSent(Fact):
    """The attempt was given up before its request had a connection to go out on."""

    number: int

    def describe(self) -> JSON:
        return {"fact": "never_sent", "number": self.number}


@frozen
class AttemptAnswered(Fact):
    """The whole answer, or a stream's first event, is here."""

    number: int
    at_s: float

    def describe(self) -> JSON:
        return {"fact": "attempt_answered", "number": self.number, "at_us": int(self.at_s * 1e6)}


@frozen(kw_only=True)
class AttemptEnded(Fact):
    """An attempt is over.

    `error` is an error's `kind`, None if all went well. `cost_nano_usd` is None where the price
    is unknown. The figures themselves stand in the attempt's charge.
    """

    number: int
    charge_id: str
    at_s: float
    error: str | None = None
    usage: Usage | None = None
    cost_nano_usd: int | None = None

    def describe(self) -> JSON:
        return {
            "fact": "attempt_ended",
            "number": self.number,
            "charge": self.charge_id,
            "at_us": int(self.at_s * 1e6),
            "error": self.error,
        }


@frozen
class ToppedUp(Fact):
    """A stream held more than it began with: how often it asked, and what it held at last."""

    times: int
    bound_nano_usd: int

    def describe(self) -> JSON:
        return {
            "fact": "topped_up",
            "times": self.times,
            "bound_nano_usd": self.bound_nano_usd,
        }


@frozen
class Stopped(Fact):
    """A stream was ended early: this budget had no room for more than `tokens`."""

    budget: str
    tokens: int
    storable: ClassVar[bool] = False

    def describe(self) -> JSON:
        return {"fact": "stopped", "budget": self.budget, "tokens": self.tokens}


class Trace:
    """What the path has learned, in order: ledger row, headers and log line are views of it.

    Facts are asked for by their own class, not by one that it is derived from.
    """

    __slots__ = ("_began", "_by_kind", "facts")

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.facts: list[Fact] = []
        # A view of a call asks for a dozen kinds.
        self._by_kind: defaultdict[type[Fact], list[Any]] = defaultdict(list)

    def begin(self) -> None:
        """The request is here whole: how long its client took to send it is no time of ours."""
        self._began = time.monotonic()

    def now_s(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self._began

    def add(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._by_kind[type(fact)].append(fact)

    def branch(self) -> Trace:
        """An empty one of the same beginning, for what runs beside others; `join` adds it."""
        branch = Trace()
        branch._began = self._began
        return branch

    def join(self, branch: Trace) -> None:
        """Add all that a branch knows."""
        for fact in branch.facts:
            self.add(fact)

    def last(self, kind: type[F]) -> F | None:
        """The newest fact of a kind, or None."""
        known: list[F] | None = self._by_kind.get(kind)
        return known[-1] if known else None

    def describe(self) -> list[JSON]:
        """All facts as they may be stored and shown."""
        return [fact.describe() for fact in self.facts]

    def all(self, kind: type[F]) -> Sequence[F]:
        """All facts of a kind, oldest first."""
        return self._by_kind.get(kind) or []
