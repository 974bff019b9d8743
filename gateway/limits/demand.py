"""What one call asks of its limits, and what it is told.

A `Demand` names every limit that applies to a call; a `Limiter` takes from all of them, or from
none and says why. A `Grant` is what was taken: it is ended once, when the call is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Literal, Protocol

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
    rates = tuple(limit for limit in limits if limit.kind != "concurrent")
    concurrent = tuple(limit for limit in limits if limit.kind == "concurrent")
    tokens = 0
    if any(rate.kind == "tokens" for rate in rates):
        each = asked_completion_tokens(body) or expected_completion_tokens
        tokens = estimate_prompt_tokens(body) + int(each * (body.get("n") or 1))
    return Demand(rates, concurrent, tokens, slot)


@frozen
class Level:
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


def judge(demand: Demand, now_us: int, arrivals: Sequence[int], running: Sequence[int]) -> Verdict:
    """The verdict over the state before: a bucket per rate, a number of calls per concurrency."""
    waits: list[tuple[int, Limit]] = []
    for limit, arrival in zip(demand.rates, arrivals, strict=True):
        cost, window = limit.cost_us(demand.tokens), limit.window_us
        if cost > window:
            return Verdict(_levels(demand, now_us, arrivals, running, False), limit, never=True)
        if wait := gcra.wait_us(arrival, now_us, cost, window):
            waits.append((wait, limit))
    full = [limit for limit, n in zip(demand.concurrent, running, strict=True) if n >= limit.amount]
    levels = _levels(demand, now_us, arrivals, running, not waits and not full)
    if waits:
        wait, limit = max(waits, key=lambda pair: pair[0])
        return Verdict(levels, limit, wait / 1e6)
    return Verdict(levels, full[0] if full else None)


def _levels(
    demand: Demand, now_us: int, arrivals: Sequence[int], running: Sequence[int], admitted: bool
) -> tuple[Level, ...]:
    levels = []
    for limit, arrival in zip(demand.rates, arrivals, strict=True):
        after = gcra.taken(arrival, now_us, limit.cost_us(demand.tokens)) if admitted else arrival
        free = max(0, gcra.free_us(after, now_us, limit.window_us))
        left = free * limit.amount // limit.window_us
        levels.append(Level(limit, left, gcra.backlog_us(after, now_us) / 1e6))
    for limit, n in zip(demand.concurrent, running, strict=True):
        levels.append(Level(limit, max(0, limit.amount - n - admitted), 0.0))
    return tuple(levels)
