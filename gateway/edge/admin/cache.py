"""`/cache`: what does the cache do, and how is it cleared?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.cache.disk import DiskStore
from gateway.cache.epochs import Scope
from gateway.cache.redis import RedisStore
from gateway.cache.tally import COUNTS
from gateway.config import Cache as Settings
from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.periods import PERIOD, period_of
from gateway.edge.admin.shapes import (
    JSON,
    Fields,
    Flag,
    Many,
    Maybe,
    Named,
    Number,
    Several,
    Shape,
    Text,
    Whole,
    invalid,
)
from gateway.store.administration import Administration
from gateway.store.cacheadmin import GROUPS, CacheRow

_COUNTS: Mapping[str, Shape] = {
    **{name: Whole() for name in COUNTS},
    "hit_rate": Maybe(Number()),
}
ROW = Fields({"group": Named(Text(free=True)), **_COUNTS}, name="CacheRow")
_STATS = Fields(
    {
        "object": Text(choices=("list",)),
        "store": Text(choices=("off", "memory", "disk", "redis")),
        "encrypted": Flag(),
        "totals": Fields(_COUNTS),
        "data": Many(ROW),
        "next": Maybe(Text()),
    }
)
_SCOPE = {name: Text() for name in ("team", "key", "namespace", "model")}
_CLEARED = Fields(
    {
        "scope": Fields({name: Maybe(shape) for name, shape in _SCOPE.items()}),
        "deleted": Named(Maybe(Whole())),
    }
)


class Cache:
    """The cache of all processes together."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/cache",
            summary="Hits, misses and savings of the hours that begin in the period, by groups.",
            act=self.stats,
            query={
                **PERIOD,
                "by": Several(Text(choices=tuple(GROUPS))),
                **{name: Text() for name in ("team", "key", "model")},
            },
            answer=_STATS,
        )
        yield Operation(
            method="POST",
            path="/cache/clear",
            summary="Put what is kept out of use: all of it, or what the body narrows it to.",
            act=self.clear,
            body=Fields({}, _SCOPE),
            answer=_CLEARED,
        )

    async def stats(self, ask: Ask) -> JSON:
        since_ms, until_ms = period_of(ask.query)
        by = ask.query.get("by", [])
        only = {name: ask.query.get(name) for name in ("team", "key", "model")}
        async with self._parts.desk.looking() as look:
            rows = await look.cache.stats(by, since_ms, until_ms, **only) if by else []
            (total,) = await look.cache.stats((), since_ms, until_ms, **only)
        caching = self._parts.caching
        settings = caching.settings if caching else Settings(store="off")
        return {
            "object": "list",
            "store": settings.store,
            "encrypted": settings.encrypt,
            "totals": _counts(total),
            "data": [{"group": dict(zip(by, r.group, strict=True)), **_counts(r)} for r in rows],
            "next": None,
        }

    async def clear(self, ask: Ask) -> JSON:
        given: dict[str, str] = ask.body
        async with self._parts.desk.changing(ask.via) as admin:
            scope = Scope(
                owner=await _owner(admin, given),
                namespace=given.get("namespace", ""),
                model=given.get("model", ""),
            )
            await admin.cache.clear(scope)
        deleted = await self._delete(scope)
        return {"scope": {name: given.get(name) for name in _SCOPE}, "deleted": deleted}

    async def _delete(self, scope: Scope) -> dict[str, int | None]:
        """What is out of use lies there until it expires, unless it is deleted now."""
        behind = self._parts.caching.behind if self._parts.caching else None
        if isinstance(behind, DiskStore):
            return {"disk": await behind.drop(scope)}
        return {"redis": await behind.drop(scope)} if isinstance(behind, RedisStore) else {}


async def _owner(admin: Administration, given: Mapping[str, str]) -> str:
    """Whose entries are meant. Raises `InvalidRequest` or `UnknownKey`."""
    team, key_id = given.get("team"), given.get("key")
    if team is not None and key_id is not None:
        raise invalid("key", "excludes team")
    if team is not None:
        if team not in await admin.keys.team_settings():
            raise invalid("team", f"cannot be used: there is no team {team!r}")
        return f"team:{team}"
    if key_id is None:
        return ""
    key = await admin.keys.show(key_id)
    if key.team is not None:
        raise invalid("key", f"shares its entries with its team; name team {key.team!r} instead")
    return f"key:{key.id}"


def _counts(row: CacheRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COUNTS} | {"hit_rate": row.hit_rate}
