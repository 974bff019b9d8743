"""`/teams`: what holds for all keys of a team."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.edge.admin.operation import Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.rights import BINDINGS, SETTING_CHANGES, SETTING_VALUES, require_usable
from gateway.edge.admin.shapes import JSON, Fields, Flag, Many, Text, Whole
from gateway.errors import Conflict, NotFound
from gateway.store.administration import Administration

TEAM = Fields(
    {
        "name": Text(),
        "settings": SETTING_VALUES,
        "credentials": BINDINGS,
        "keys": Whole(),
        "created_at_ms": Whole(),
    },
    name="Team",
)
_CREATE = Fields({"name": Text()}, {"settings": SETTING_VALUES, "credentials": BINDINGS})
_CHANGE = Fields({}, {"settings": SETTING_CHANGES, "credentials": BINDINGS})


class Teams:
    """Teams. `keys` counts those that are not revoked."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/teams",
            summary="List the teams, by name.",
            act=self.list,
            answer=page_of(TEAM),
        )
        yield Operation(
            method="POST",
            path="/teams",
            summary="Make a team.",
            act=self.create,
            body=_CREATE,
            answer=TEAM,
            status=201,
        )
        yield Operation(
            method="GET", path="/teams/{name:path}", summary="One team.", act=self.show, answer=TEAM
        )
        yield Operation(
            method="PATCH",
            path="/teams/{name:path}",
            summary="Change a team. Of `settings` those named, null removes; `credentials` whole.",
            act=self.change,
            body=_CHANGE,
            answer=TEAM,
        )

        yield Operation(
            method="DELETE",
            path="/teams/{name:path}",
            summary="Delete a team. With keys that work only if `revoke_keys` says so.",
            act=self.delete,
            query={"revoke_keys": Flag()},
            answer=Fields({"name": Text(), "deleted": Flag(), "revoked": Many(Text())}),
        )

    async def list(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            return page(await _teams(look))

    async def create(self, ask: Ask) -> JSON:
        name, given = ask.body["name"], {n: v for n, v in ask.body.items() if n != "name"}
        require_usable(given, self._parts)
        async with self._parts.desk.changing(ask.via) as admin:
            if name in await admin.keys.team_settings():
                raise Conflict(f"There is a team {name!r} already.")
            await admin.keys.update_team(name, given)
            return await _team(admin, name)

    async def show(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            return await _team(look, ask.path["name"])

    async def change(self, ask: Ask) -> JSON:
        require_usable(ask.body, self._parts)
        async with self._parts.desk.changing(ask.via) as admin:
            await _team(admin, ask.path["name"])  # a change makes no team
            await admin.keys.update_team(ask.path["name"], ask.body)
            return await _team(admin, ask.path["name"])

    async def delete(self, ask: Ask) -> JSON:
        name, revoke = ask.path["name"], ask.query.get("revoke_keys", False)
        async with self._parts.desk.changing(ask.via) as admin:
            revoked = await admin.teams.delete(name, revoke_keys=revoke)
        return {"name": name, "deleted": True, "revoked": list(revoked)}


async def _team(look: Administration, name: str) -> JSON:
    """Raises `NotFound`."""
    for team in await _teams(look):
        if team["name"] == name:
            return team
    raise NotFound(f"There is no team {name!r}.")


async def _teams(look: Administration) -> list[JSON]:
    settings = await look.keys.team_settings()
    bindings = await look.keys.team_bindings()
    members, made = await look.keys.team_members(), await look.keys.team_times()
    return [
        {
            "name": name,
            "settings": settings[name],
            "credentials": bindings[name],
            "keys": members.get(name, 0),
            "created_at_ms": made[name],
        }
        for name in settings
    ]
