"""Chances: where a choice of targets is random, how likely is each of them to be the first?

What `gateway.picking` decides for one call by a digest of its id, this says of all calls that
come at the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.config import Sticky, Strategy
from gateway.health import Health
from gateway.picking import busyness, slowness
from gateway.targets import Target

Account = tuple[str, str]
"""A target's name and its credential's."""

_Share = tuple[Target, float]


def account_of(target: Target) -> Account:
    return target.name, target.credential.name


def first_chances(
    candidates: Sequence[Target], strategy: Strategy, sticky: Sticky, health: Health
) -> Mapping[Account, float]:
    """Of an alias's own candidates; nothing where the first choice is no matter of chance."""
    usable = [t for t in candidates if t.fallback is None and health.usable(t)]
    if sticky != "no" or not usable:
        return {}
    credentials: dict[str, list[Target]] = {}
    for target in usable:
        credentials.setdefault(target.name, []).append(target)
    group = [accounts[0] for accounts in credentials.values()]
    first = min(target.priority for target in group)
    group = [target for target in group if target.priority == first]
    found: dict[Account, float] = {}
    for target, chance in _shares(group, strategy, health):
        accounts = credentials[target.name]
        for one in accounts:  # credentials serve in turn
            account = account_of(one)
            found[account] = found.get(account, 0.0) + chance / len(accounts)
    return found if len(found) > 1 else {}


def _shares(group: Sequence[Target], strategy: Strategy, health: Health) -> list[_Share]:
    if strategy == "weighted":
        return _by_weight(group)
    if strategy == "least_busy":
        least = min(busyness(health.load, target) for target in group)
        return _by_weight([t for t in group if busyness(health.load, t) == least])
    if strategy == "lowest_latency":
        return [
            (min(drawn, key=lambda target: slowness(health.load, target)), chance)
            for drawn, chance in _draws(group)
        ]
    return [(group[0], 1.0)]


def _by_weight(group: Sequence[Target]) -> list[_Share]:
    """Those without weight are drawn after all others, in their own order."""
    total = sum(target.weight for target in group)
    if total <= 0:
        return [(group[0], 1.0)]
    return [(target, target.weight / total) for target in group if target.weight > 0]


def _draws(group: Sequence[Target]) -> Iterator[tuple[tuple[Target, ...], float]]:
    """The first two of a random order, each with its chance."""
    for first, chance in _by_weight(group):
        others = [target for target in group if target is not first]
        if not others:
            yield (first,), chance
        for second, then in _by_weight(others) if others else ():
            yield (first, second), chance * then
