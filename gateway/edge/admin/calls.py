"""`/calls`: which calls were there, and what happened in one?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from gateway.edge.admin.operation import PAGING, Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.periods import PERIOD, period_of
from gateway.edge.admin.shapes import (
    JSON,
    Anything,
    Fields,
    Flag,
    Many,
    Maybe,
    Number,
    Parameter,
    Shape,
    Text,
    Whole,
    invalid,
)
from gateway.errors import NotFound
from gateway.ledger import CallRecord
from gateway.store.administration import Administration
from gateway.store.reports import Attempt, CallRow, Filter

_WORDS = Text(free=True)
_SUMS = ("prompt_tokens", "completion_tokens", "cost_nano_usd")
_RECORD: Mapping[str, Shape] = {
    "call_id": _WORDS,
    "received_at_ms": Whole(),
    "key_id": _WORDS,
    "key_name": Maybe(_WORDS),
    "team": Maybe(_WORDS),
    "tags": Many(_WORDS),
    "asked_model": _WORDS,
    "alias": Maybe(_WORDS),
    "target": Maybe(_WORDS),
    "stream": Flag(),
    "status": Whole(),
    "error": Maybe(_WORDS),
    "attempts": Whole(),
    "first_event_ms": Maybe(Whole()),
    "duration_ms": Whole(),
    "overhead_ms": Maybe(Number()),
    "cache": Maybe(_WORDS),
    "saved_nano_usd": Maybe(Whole()),
    "saved_tokens": Maybe(Whole()),
}
CALL = Fields(
    {
        **_RECORD,
        "prompt_tokens": Whole(),
        "completion_tokens": Whole(),
        "cost_nano_usd": Maybe(Whole()),
    },
    name="Call",
)
ATTEMPT = Fields(
    {
        "charge_id": _WORDS,
        "number": Whole(),
        "target": _WORDS,
        "credential": _WORDS,
        "state": Text(choices=("open", "settled", "lost")),
        "opened_at_ms": Whole(),
        "settled_at_ms": Maybe(Whole()),
        "first_event_ms": Maybe(Whole()),
        "duration_ms": Maybe(Whole()),
        "error": Maybe(_WORDS),
        "usage": Maybe(Anything()),
        "cost_nano_usd": Maybe(Whole()),
        "bound_nano_usd": Maybe(Whole()),
        "price": Maybe(Anything()),
    },
    name="Attempt",
)
_DETAIL = Fields(
    {
        "call": Maybe(Fields(_RECORD, name="CallRecord")),
        "attempts": Many(ATTEMPT),
        "trace": Many(Anything()),
    }
)
_FILTER: Mapping[str, Parameter] = {
    "key": Text(),
    "team": Text(),
    "model": Text(),
    "status": Whole(least=100, most=599),
    "error": Text(),
    "failed": Flag(),
    "provider": Text(),
    "target": Text(),
    "tag": Text(),
    "cache": Text(choices=("hit", "coalesced", "miss", "bypass")),
    "min_cost_nano_usd": Whole(),
}


class Calls:
    """Calls of the ledger."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/calls",
            summary="List calls, the newest first.",
            act=self.list,
            query={**PAGING, **PERIOD, **_FILTER},
            answer=page_of(CALL),
        )
        yield Operation(
            method="GET",
            path="/calls/{id}",
            summary="One call, its attempts with their prices, and its trace.",
            act=self.show,
            answer=_DETAIL,
        )

    async def list(self, ask: Ask) -> JSON:
        since_ms, until_ms = period_of(ask.query)
        given = {name: value for name, value in ask.query.items() if name in _FILTER}
        where = Filter(since_ms=since_ms, until_ms=until_ms, **given)
        async with self._parts.desk.looking() as look:
            try:
                found = await look.reports.calls(
                    where, ask.query.get("limit", 50), ask.query.get("after")
                )
            except ValueError:
                raise invalid("after", "is no place in this list") from None
            return page(await call_rows(look, found.rows), found.next)

    async def show(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            found = await look.reports.call(ask.path["id"])
            if found is None:
                raise NotFound(f"The ledger has no call {ask.path['id']!r}.")
            record = found.record
            names = await look.keys.names([record.key_id]) if record else {}
        return {
            "call": _record(record, names) if record else None,
            "attempts": [_attempt(attempt) for attempt in found.attempts],
            "trace": orjson.loads(record.facts) if record else [],
        }


async def call_rows(look: Administration, rows: list[CallRow]) -> list[JSON]:
    """Calls as they are listed."""
    names = await look.keys.names({row.record.key_id for row in rows})
    return [
        _record(row.record, names) | {name: getattr(row, name) for name in _SUMS} for row in rows
    ]


def _record(record: CallRecord, names: Mapping[str, str]) -> JSON:
    values = asdict(record)
    del values["facts"]
    return values | {"key_name": names.get(record.key_id)}


def _attempt(attempt: Attempt) -> JSON:
    values: dict[str, Any] = asdict(attempt)
    return values | {"price": orjson.loads(attempt.price) if attempt.price else None}
