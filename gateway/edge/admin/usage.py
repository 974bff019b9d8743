"""`/usage`: who used what, and what did it cost?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.edge.admin.operation import Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.periods import PERIOD, period_of, zone_of
from gateway.edge.admin.shapes import (
    JSON,
    Fields,
    Maybe,
    Named,
    Parameter,
    Several,
    Text,
    Whole,
    invalid,
)
from gateway.store.charges import COUNTS
from gateway.store.reports import GROUPS, Filter, UsageRow

_DAY_MS = 86_400_000
_LONGEST_DAYS = {"hour": 32, "day": 1500}
_NUMBERS = ("calls", "attempts", "errors", "cost_nano_usd", "unpriced", "estimated", "open", "lost")
ROW = Fields(
    {
        "group": Named(Maybe(Text(free=True))),
        "tokens": Fields({name: Whole() for name in COUNTS}),
        **{name: Whole() for name in _NUMBERS},
    },
    name="UsageRow",
)
FILTER: Mapping[str, Parameter] = {
    name: Text() for name in ("key", "team", "model", "provider", "target", "tag")
}


class Usage:
    """Sums over attempts."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/usage",
            summary="Tokens and cost by key, team, model, provider, target, tag or time.",
            act=self.list,
            query={**PERIOD, **FILTER, "by": Several(Text(choices=tuple(GROUPS)))},
            answer=page_of(ROW),
        )

    async def list(self, ask: Ask) -> JSON:
        since_ms, until_ms = period_of(ask.query)
        by: Sequence[str] = ask.query.get("by", [])
        _require_bounded(by, since_ms, until_ms or self._parts.desk.clock())
        given = {name: value for name, value in ask.query.items() if name in FILTER}
        where = Filter(since_ms=since_ms, until_ms=until_ms, **given)
        async with self._parts.desk.looking() as look:
            rows = await look.reports.usage(by, where, zone_of(ask.query))
            ids = {row.group[by.index("key")] or "" for row in rows} if "key" in by else set()
            names = await look.keys.names(ids)
        return page([_row(by, row, names) for row in rows])


def _require_bounded(by: Sequence[str], since_ms: int | None, until_ms: int) -> None:
    """Hours and days times groups are many rows. Raises `InvalidRequest`."""
    for name, days in _LONGEST_DAYS.items():
        if name in by and (since_ms is None or until_ms - since_ms > days * _DAY_MS):
            raise invalid("since", f"must be within {days} days of until to group by {name}")


def _row(by: Sequence[str], row: UsageRow, names: Mapping[str, str]) -> JSON:
    group = dict(zip(by, row.group, strict=True))
    if "key" in group:
        group["key_name"] = names.get(group["key"] or "")
    return {
        "group": group,
        "tokens": dict(row.tokens),
        **{name: getattr(row, name) for name in _NUMBERS},
    }
