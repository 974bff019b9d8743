"""`/status`: which processes are there, and can they work?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from gateway import __version__
from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import JSON, Fields, Flag, Many, Text, Whole
from gateway.store.status import processes, size_bytes

PROCESS = Fields(
    {
        "id": Text(free=True),
        "host": Text(free=True),
        "pid": Whole(),
        "started_at_ms": Whole(),
        "lease_until_ms": Whole(),
    },
    name="Process",
)
_STATUS = Fields(
    {
        "version": Text(free=True),
        "process": Text(free=True),
        "uptime_s": Whole(),
        "draining": Flag(),
        "in_flight": Whole(),
        "processes": Many(PROCESS),
        "database": Fields({"ok": Flag(), "size_bytes": Whole()}),
        "redis": Fields({"configured": Flag(), "available": Flag()}),
        "workers": Whole(),
    },
    name="Status",
)


class Status:
    """The deployment as its database knows it, and the process that answers."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/status",
            summary="The processes of the deployment, its database and Redis.",
            act=self.show,
            answer=_STATUS,
        )

    async def show(self, ask: Ask) -> JSON:
        parts, now_ms = self._parts, self._parts.desk.clock()
        async with parts.desk.looking() as look:
            found = await processes(look.db)
            size = await size_bytes(look.db)
        started = [process.started_at_ms for process in found if process.id == parts.process()]
        return {
            "version": __version__,
            "process": parts.process(),
            "uptime_s": max(0, now_ms - started[0]) // 1000 if started else 0,
            "draining": parts.visits.draining,
            "in_flight": len(parts.visits),
            "processes": [asdict(process) for process in found],
            "database": {"ok": await parts.healthy(), "size_bytes": size},
            "redis": {
                "configured": parts.redis is not None,
                "available": parts.redis is not None and parts.redis(),
            },
            "workers": parts.generation().config.server.workers,
        }
