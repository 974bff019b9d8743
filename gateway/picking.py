"""Picking: in which order are an alias's targets tried?

Groups of equal priority follow each other. Within a group the alias's strategy decides, or, with
`sticky`, the key or the beginning of the prompt: rendezvous hashing, so that a new target takes
over its own share of them and moves no other. Benched targets come last, the one that was benched
first before the others: health alone refuses nothing.

Every random choice is a digest of the call's id, so that an explanation of a call repeats it.
Nothing here changes a state.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter

from gateway.config import RetryRule, Sticky, Strategy
from gateway.directory import Resolution
from gateway.errors import ContextWindowExceeded, UpstreamFailure
from gateway.exchange import JSON, Call
from gateway.health import Health
from gateway.load import Load
from gateway.targets import Target
from gateway.tokens import asked_completion_tokens, estimate_prompt_tokens
from gateway.trace import Fact
from gateway.usage import Usage

PREFIX_CHARACTERS = 2_000
# After these another credential of the same target may do better.
_OF_THE_ACCOUNT = frozenset(
    {"rate_limit", "quota_exceeded", "authentication", "permission", "upstream_model_not_found"}
)
_ANSWER_TOKENS = 500  # of a call that names no limit, to compare prices by


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked(Fact):
    """How the order of an alias's targets came about. `shares` are the chances by weight."""

    alias: str | None
    strategy: Strategy
    sticky: Sticky
    benched: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)

    def describe(self) -> JSON:
        return {
            "fact": "picked",
            "alias": self.alias,
            "strategy": self.strategy,
            "sticky": self.sticky,
            "benched": self.benched,
            "shares": self.shares,
        }


class Picker:
    """Orders targets by an alias's settings and what `health` knows."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def order(
        self, call: Call, resolution: Resolution, targets: tuple[Target, ...]
    ) -> tuple[Target, ...]:
        """All of `targets`, each with each of its credentials, the first choice first."""
        if len(targets) == 1 and not targets[0].spares:
            return targets
        seed = _seed(call, resolution.sticky)
        usable = [t for t in targets if any(map(self._health.usable, _accounts(t, seed)))]
        benched = [t for t in targets if t not in usable]
        ordered = list(self._by_priority(call, resolution, usable, seed)) + benched
        if resolution.strategy != "order" or resolution.sticky != "no" or benched:
            call.trace.add(_picked(resolution, usable, benched))
        return self.healthy_first(c for t in ordered for c in _accounts(t, seed))

    def healthy_first(self, targets: Iterable[Target]) -> tuple[Target, ...]:
        """Benched ones last, those that were benched first before the others.

        Borrowed targets that only certain errors lead to stay behind all others.
        """

        def place(target: Target) -> tuple[bool, float]:
            health = self._health
            since = -math.inf if health.usable(target) else health.benched_at(target)
            return bool(target.fallback_on), since

        return tuple(sorted(targets, key=place))

    def _by_priority(
        self, call: Call, resolution: Resolution, targets: list[Target], seed: str
    ) -> Iterable[Target]:
        by_priority = sorted(targets, key=attrgetter("priority"))
        for _, group in groupby(by_priority, key=attrgetter("priority")):
            yield from self._ranked(call, resolution, list(group), seed)

    def _ranked(
        self, call: Call, resolution: Resolution, group: list[Target], seed: str
    ) -> Sequence[Target]:
        strategy = resolution.strategy
        if resolution.sticky != "no" or strategy == "weighted":
            return weighted(group, seed)
        if strategy == "least_busy":
            load = self._health.load
            return sorted(weighted(group, seed), key=lambda target: busyness(load, target))
        if strategy == "lowest_latency":
            return self._fastest(weighted(group, seed))
        if strategy == "lowest_cost":
            usage = _expected(call.body)
            return sorted(group, key=lambda target: _cost(target, usage))
        return group

    def _fastest(self, shuffled: list[Target]) -> list[Target]:
        """The better of two that were drawn: nobody is chosen by all at the same moment."""

        def slow(target: Target) -> float:
            return slowness(self._health.load, target)

        first = min(shuffled[:2], key=slow)
        return [first, *sorted((t for t in shuffled if t is not first), key=slow)]


def busyness(load: Load, target: Target) -> float:
    """What `least_busy` goes by."""
    return load.in_flight(target.name) / target.weight if target.weight else math.inf


def slowness(load: Load, target: Target) -> float:
    """What `lowest_latency` goes by.

    Attempts in flight are part of the figure, as they are not in the average yet.
    """
    return load.latency_s(target.name) * (load.in_flight(target.name) + 1)


def weighted(targets: Sequence[Target], seed: str) -> list[Target]:
    """A random order for each `seed`, in which a target is first as often as its weight says.

    The smallest of exponential variates with the weights as rates; with a fixed seed that is
    rendezvous hashing. A target without weight comes last.
    """
    return sorted(targets, key=lambda target: _score(seed, target.name, target.weight))


def followers(
    left: Sequence[Target], failed: Target, failure: UpstreamFailure, rule: RetryRule
) -> list[Target]:
    """Those that may be tried after a failure: the same target with another credential only where
    that may make a difference, a fallback where its alias or the rule says so.
    """

    def follows(other: Target) -> bool:
        if other.fallback_on:
            return failure.kind in other.fallback_on
        return rule.next_target and (other.name != failed.name or failure.kind in _OF_THE_ACCOUNT)

    return [target for target in left if follows(target)]


def wide_enough(left: list[Target], failed: Target, failure: UpstreamFailure) -> list[Target]:
    """The targets that could do better: after an overlong prompt, those with a larger window."""
    if not isinstance(failure, ContextWindowExceeded):
        return left
    window = failed.model.context_window or 0
    return [t for t in left if (t.model.context_window or math.inf) > window]


def prompt_prefix(body: JSON) -> str:
    """What calls with a common beginning have in common.

    The caller's `prompt_cache_key` if there is one; else the messages' text up to the first of
    the user's, cut off: a long system prompt counts alone.
    """
    if isinstance(named := body.get("prompt_cache_key"), str) and named:
        return named
    texts: list[str] = []
    for message in body["messages"]:
        texts.append(message["role"])
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts += [part["text"] for part in parts if isinstance(part.get("text"), str)]
        if message["role"] == "user" or sum(map(len, texts)) >= PREFIX_CHARACTERS:
            break
    return "\n".join(texts)[:PREFIX_CHARACTERS]


def _accounts(target: Target, seed: str) -> Iterable[Target]:
    """The target with each credential that serves in turn, whose turn it is first."""
    if not target.spares:
        return (target,)
    credentials = [target.credential, *target.spares]
    credentials.sort(key=lambda c: _score(seed, f"{target.provider.name} {c.name}", 1.0))
    return [replace(target, credential=credential, spares=()) for credential in credentials]


def _seed(call: Call, sticky: Sticky) -> str:
    if sticky == "prompt":
        return prompt_prefix(call.body)
    return call.key.id if sticky == "key" and call.key else call.id


def _score(seed: str, name: str, weight: float) -> float:
    if weight <= 0:
        return math.inf
    digest = hashlib.blake2b(f"{name}\n{seed}".encode("utf-8", "surrogateescape"), digest_size=8)
    uniform = (int.from_bytes(digest.digest(), "big") + 1) / 2**64
    return -math.log(uniform) / weight


def _expected(body: JSON) -> Usage:
    answer = asked_completion_tokens(body) or _ANSWER_TOKENS
    return Usage(prompt_tokens=estimate_prompt_tokens(body), completion_tokens=answer)


def _cost(target: Target, usage: Usage) -> float:
    price = target.model.price
    return math.inf if price is None else price.cost_nano_usd(usage)


def _picked(resolution: Resolution, usable: list[Target], benched: list[Target]) -> Picked:
    shares: dict[str, float] = {}
    if resolution.strategy == "weighted" and resolution.sticky == "no" and usable:
        first = min(target.priority for target in usable)
        group = [target for target in usable if target.priority == first]
        total = sum(target.weight for target in group)
        shares = {t.name: round(t.weight / total, 4) for t in group} if total else {}
    return Picked(
        alias=resolution.alias,
        strategy=resolution.strategy,
        sticky=resolution.sticky,
        benched=tuple(target.name for target in benched),
        shares=shares,
    )
