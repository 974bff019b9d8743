"""Budgets: which of them does an attempt draw on, and in which period?

A budget limits what a virtual key, a team, a model or a tag costs in a period. `model` is the name
that was asked for (an alias, usually) or the target's own `provider/model`. A key's budget also
holds for the keys that it was rotated to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from gateway.frozen import frozen
from gateway.ledger import Intent, Reservation
from gateway.periods import Period, PeriodName, period_of, zone
from gateway.trace import JSON, Fact

ScopeKind = Literal["key", "team", "model", "tag"]
SCOPES: tuple[ScopeKind, ...] = get_args(ScopeKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit as an administrator set it. `zone` is an IANA name, for the calendar."""

    id: str
    scope: ScopeKind
    scope_value: str
    period: PeriodName
    zone: str
    limit_nano_usd: int
    hard: bool

    @property
    def name(self) -> str:
        """How it is called in messages and metrics: `team:research/month`."""
        return f"{self.scope}:{self.scope_value}/{self.period}"


class Budgets:
    """All budgets of a database by their scope, as of its last reading. Changed by `replace`."""

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self._by_scope: Mapping[tuple[str, str], Sequence[Budget]] = {}
        self._by_id: Mapping[str, Budget] = {}
        self._periods: dict[str, Period] = {}
        self.replace(budgets)

    def replace(
        self, budgets: Iterable[Budget], successors: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """`successors` are the keys that each key was rotated to, one after the other."""
        by_scope: dict[tuple[str, str], list[Budget]] = {}
        by_id: dict[str, Budget] = {}
        for budget in budgets:
            by_id[budget.id] = budget
            values = [budget.scope_value]
            if budget.scope == "key" and successors:
                values += successors.get(budget.scope_value, ())
            for value in values:
                by_scope.setdefault((budget.scope, value), []).append(budget)
        self._periods = {}
        self._by_scope, self._by_id = by_scope, by_id

    def __bool__(self) -> bool:
        return bool(self._by_scope)

    def named(self, budget_id: str) -> Budget | None:
        return self._by_id.get(budget_id)

    def of(self, intent: Intent) -> list[Budget]:
        """The budgets that an attempt draws on, in the order of their ids, each once."""
        if not self._by_scope:
            return []
        found: dict[str, Budget] = {}
        for scope in _scopes(intent):
            for budget in self._by_scope.get(scope, ()):
                found[budget.id] = budget
        return [found[name] for name in sorted(found)] if len(found) > 1 else [*found.values()]

    def period(self, budget: Budget, now_ms: int) -> Period:
        """The budget's period that `now_ms` lies in."""
        known = self._periods.get(budget.id)
        if known is None or not known.start_ms <= now_ms < known.end_ms:
            known = period_of(budget.period, zone(budget.zone), now_ms)
            self._periods[budget.id] = known
        return known

    def reservations(self, intent: Intent, budgets: Sequence[Budget]) -> list[Reservation]:
        """What has to be held of `budgets` for an attempt: its worst case, 0 if that is unknown."""
        return [
            Reservation(
                budget_id=budget.id,
                period_start_ms=self.period(budget, intent.opened_at_ms).start_ms,
                nano_usd=intent.bound_nano_usd or 0,
                limit_nano_usd=budget.limit_nano_usd,
                hard=budget.hard,
            )
            for budget in budgets
        ]


def _scopes(intent: Intent) -> list[tuple[str, str]]:
    found = [
        ("key", intent.key_id),
        ("model", intent.asked_model),
        ("model", f"{intent.provider}/{intent.model}"),
    ]
    if intent.team is not None:
        found.append(("team", intent.team))
    found += [("tag", tag) for tag in intent.tags]
    return found


@frozen
class Budgeted(Fact):
    """An attempt's worst case was held in these budgets; what is left of each after that."""

    bound_nano_usd: int
    left_nano_usd: Mapping[str, int]

    def describe(self) -> JSON:
        return {
            "fact": "budgeted",
            "bound_nano_usd": self.bound_nano_usd,
            "left_nano_usd": dict(self.left_nano_usd),
        }


@frozen
class Clamped(Fact):
    """The attempt's answer was limited to what a budget has room for."""

    max_tokens: int
    storable: ClassVar[bool] = False

    def describe(self) -> JSON:
        return {"fact": "clamped", "max_tokens": self.max_tokens}


@frozen
class BudgetOverrun(Fact):
    """These soft budgets are used up, or may be with this attempt."""

    budgets: tuple[str, ...]

    def describe(self) -> JSON:
        return {"fact": "budget_overrun", "budgets": self.budgets}
