"""What one call asks of its limits, and what it is told.

A `Demand` names every limit that applies to a call; a `Limiter` takes from all of them, or from
none and says why. A `Grant` is what was taken: it is ended once, when the call is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Literal, NamedTuple, Protocol

from gateway.frozen import frozen
from gateway.limits import gcra
from gateway.tokens import asked_completion_tokens, estimate_prompt_tokens
from gateway.trace import JSON, Fact

Kind = Literal["requests", "tokens", "concurrent"]
Scope = Literal["key", "team", "model", "target"]
Place = Literal["memory", "redis"]


@frozen
class Limit:
    """One limit: `amount` requests or tokens a minute, or calls at once, of one `subject`.

    `name` is what its state is stored under, `window_us` what GCRA needs of a rate.
    """

    kind: Kind
    scope: Scope
    subject: str
    amount: int
    name: str = field(init=False)
    window_us: int = field(init=False)
    _request_us: int = field(init=False)

    def __post_init__(self) -> None:
        set_once = object.__setattr__  # a limit is frozen, and asked for these in every call
        set_once(self, "name", f"{self.kind}:{self.scope}:{self.subject}")
        set_once(self, "_request_us", gcra.cost_us(1, self.amount))
        window = gcra.WINDOW_US
        if self.kind == "requests":
            window = gcra.request_window_us(self.amount)
        set_once(self, "window_us", window)

    def cost_us(self, tokens: int) -> int:
        """What a call with so many tokens takes of a rate."""
        return self._request_us if self.kind == "requests" else gcra.cost_us(tokens, self.amount)


@frozen
class Demand:
    """All limits of a call, rates before concurrency. `slot` names it among the running ones."""

    rates: tuple[Limit, ...]
    concurrent: tuple[Limit, ...]
    tokens: int
    slot: str


def demand_of(
    limits: Sequence[Limit], body: JSON, slot: str, expected_completion_tokens: int
) -> Demand:
    """What a call with this body asks of `limits`. Tokens are estimated where a limit counts them:
    the prompt, and the caller's own limit on the answer, or else the expected one.
    """
    rates: list[Limit] = []
    concurrent: list[Limit] = []
    tokens, counted = 0, False
    for limit in limits:
        (concurrent if limit.kind == "concurrent" else rates).append(limit)
        counted = counted or limit.kind == "tokens"
    if counted:
        each = asked_completion_tokens(body) or expected_completion_tokens
        tokens = estimate_prompt_tokens(body) + int(each * (body.get("n") or 1))
    return Demand(tuple(rates), tuple(concurrent), tokens, slot)


class Level(NamedTuple):
    """How much of a limit is left, and how long until all of it is."""

    limit: Limit
    remaining: int
    reset_s: float


@frozen
class Verdict:
    """The answer to a demand. `refused_by` is the limit that it has to wait for longest.

    `wait_s` is None where nobody can know: until another call ends. `never`: not even alone.
    """

    levels: tuple[Level, ...]
    refused_by: Limit | None = None
    wait_s: float | None = None
    never: bool = False


@frozen
class Limited(Fact):
    """What the limits said to this call, and where they are kept."""

    verdict: Verdict
    place: Place

    def describe(self) -> JSON:
        refused_by = self.verdict.refused_by
        return {
            "fact": "limited",
            "place": self.place,
            "refused_by": refused_by and f"{refused_by.scope} {refused_by.kind}",
            "left": {
                f"{level.limit.scope} {level.limit.kind}": level.remaining
                for level in self.verdict.levels
            },
        }


class Grant(Protocol):
    """What a call, or an attempt, has taken."""

    async def end(self, used_tokens: int) -> None:
        """Give the slots back, and correct the tokens to those that were used. Once.

        It is on its way before the first suspension: a cancelled caller only stops waiting.
        """


@frozen
class Answer:
    """A verdict, where it was found, and unless it is a refusal, what was taken."""

    verdict: Verdict
    place: Place
    grant: Grant | None = None


class Limiter(Protocol):
    """Where limits are kept. Never raises for a fault of the store."""

    async def take(self, demand: Demand) -> Answer:
        """Take from all limits of a demand, or, if one refuses, from none."""

    async def peek(self, demand: Demand) -> Answer:
        """The same verdict, and nothing is taken."""


def judge(
    demand: Demand, now_us: int, arrivals: Sequence[int], running: Sequence[int]
) -> tuple[Verdict, Sequence[int]]:
    """The verdict over the state before: a bucket per rate, a number of calls per concurrency.

    And the buckets as they are if the demand is admitted.
    """
    after: list[int] = []
    wait, slowest = 0, None
    for limit, arrival in zip(demand.rates, arrivals, strict=True):
        cost = limit.cost_us(demand.tokens)
        if cost > limit.window_us:
            return Verdict(_levels(demand, now_us, arrivals, running), limit, never=True), arrivals
        after.append(gcra.taken(arrival, now_us, cost))
        here = gcra.wait_us(arrival, now_us, cost, limit.window_us)
        if here > wait:
            wait, slowest = here, limit
    full = [limit for limit, n in zip(demand.concurrent, running, strict=True) if n >= limit.amount]
    if slowest is not None:
        return Verdict(_levels(demand, now_us, arrivals, running), slowest, wait / 1e6), arrivals
    if full:
        return Verdict(_levels(demand, now_us, arrivals, running), full[0]), arrivals
    return Verdict(_levels(demand, now_us, after, [n + 1 for n in running])), after


def _levels(
    demand: Demand, now_us: int, arrivals: Sequence[int], running: Sequence[int]
) -> tuple[Level, ...]:
    levels = []
    for limit, arrival in zip(demand.rates, arrivals, strict=True):
        backlog = gcra.backlog_us(arrival, now_us)
        free = max(0, limit.window_us - backlog)
        levels.append(Level(limit, free * limit.amount // limit.window_us, backlog / 1e6))
    for limit, n in zip(demand.concurrent, running, strict=True):
        levels.append(Level(limit, max(0, limit.amount - n), 0.0))
    return tuple(levels)
