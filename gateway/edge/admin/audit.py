"""`/audit`: who changed what?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from gateway.edge.admin.operation import PAGING, Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import JSON, Anything, Fields, Maybe, Text, Whole, invalid
from gateway.store.audit import VIAS

CHANGE = Fields(
    {
        "id": Whole(),
        "at_ms": Whole(),
        "who": Text(),
        "via": Text(choices=VIAS),
        "action": Text(),
        "object": Text(),
        "before": Maybe(Anything()),
        "after": Maybe(Anything()),
    },
    name="Change",
)


class Audit:
    """The rows that every change leaves."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/audit",
            summary="List changes, the newest first; `object` is an id or a name.",
            act=self.list,
            query={**PAGING, "object": Text(), "action": Text()},
            answer=page_of(CHANGE),
        )

    async def list(self, ask: Ask) -> JSON:
        limit: int = ask.query.get("limit", 50)
        after: str | None = ask.query.get("after")
        if after is not None and not (after.isdecimal() and len(after) < 19):
            raise invalid("after", "is no place in this list")
        async with self._parts.desk.looking() as look:
            found = await look.audit.list(
                limit + 1,
                int(after) if after else None,
                ask.query.get("object"),
                ask.query.get("action"),
            )
        more = len(found) > limit
        rows = found[:limit]
        return page([asdict(row) for row in rows], str(rows[-1].id) if more else None)
