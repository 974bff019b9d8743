"""`/keys`: virtual keys are made, listed, changed, rotated and revoked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from gateway.edge.admin.operation import PAGING, Ask, Operation, page, page_of
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.rights import (
    BINDINGS,
    SETTING_CHANGES,
    SETTING_VALUES,
    TAG,
    require_usable,
)
from gateway.edge.admin.shapes import JSON, Fields, Many, Maybe, Number, Shape, Text, Whole, invalid
from gateway.edge.controls import MAX_TAGS
from gateway.store.administration import Administration
from gateway.store.keytable import KEY_STATES, KeyDraft, NewKey, StoredKey

_FIELDS: Mapping[str, Shape] = {
    "id": Text(),
    "name": Text(),
    "team": Maybe(Text()),
    "models": Many(Text()),
    "tags": Many(TAG),
    "credentials": BINDINGS,
    "settings": SETTING_VALUES,
    "prefix": Text(),
    "created_at_ms": Whole(),
    "expires_at_ms": Maybe(Whole()),
    "revoked_at_ms": Maybe(Whole()),
    "rotated_from": Maybe(Text()),
    "last_used_ms": Maybe(Whole()),
    "state": Text(choices=KEY_STATES),
}
KEY = Fields(_FIELDS, name="Key")
NEW_KEY = Fields({**_FIELDS, "secret": Text(free=True)}, name="NewKey")

_GIVEN: Mapping[str, Shape] = {
    "team": Maybe(Text()),
    "models": Many(Text(), most=100),
    "tags": Many(TAG, most=MAX_TAGS),
    "credentials": BINDINGS,
    "expires_at_ms": Maybe(Whole()),
}
_CREATE = Fields({"name": Text()}, {**_GIVEN, "settings": SETTING_VALUES})
_CHANGE = Fields({}, {"name": Text(), **_GIVEN, "settings": SETTING_CHANGES})
_ROTATE = Fields({}, {"grace_s": Number(most=366 * 86_400)})


class Keys:
    """Virtual keys. A secret is in the answer that made it, and nowhere else."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/keys",
            summary="List keys, the newest first; `team` and `state` choose among them.",
            act=self.list,
            query={**PAGING, "team": Text(), "state": Text(choices=KEY_STATES)},
            answer=page_of(KEY),
        )
        yield Operation(
            method="POST",
            path="/keys",
            summary="Make a key. A team that is not there yet is made too.",
            act=self.create,
            body=_CREATE,
            answer=NEW_KEY,
            status=201,
        )
        yield Operation(
            method="GET", path="/keys/{id}", summary="One key.", act=self.show, answer=KEY
        )
        yield Operation(
            method="PATCH",
            path="/keys/{id}",
            summary="Change what is named of a key. Of `settings` only those named; null removes.",
            act=self.change,
            body=_CHANGE,
            answer=KEY,
        )
        yield Operation(
            method="POST",
            path="/keys/{id}/rotate",
            summary="A new key with the same rights. The old one ends now, or after `grace_s`.",
            act=self.rotate,
            body=_ROTATE,
            answer=NEW_KEY,
            status=201,
        )
        yield Operation(
            method="POST",
            path="/keys/{id}/revoke",
            summary="End a key now, for good.",
            act=self.revoke,
            answer=KEY,
        )

    async def list(self, ask: Ask) -> JSON:
        now_ms = self._parts.desk.clock()
        limit: int = ask.query.get("limit", 50)
        async with self._parts.desk.looking() as look:
            try:
                found, following = await look.keys.page(
                    limit,
                    ask.query.get("after"),
                    team=ask.query.get("team"),
                    state=ask.query.get("state"),
                )
            except ValueError as error:
                raise invalid("after", str(error)) from None
            used = await look.keys.last_used([key.id for key in found])
        return page([_key(key, used.get(key.id), now_ms) for key in found], following)

    async def create(self, ask: Ask) -> JSON:
        given = {**ask.body}
        self._check(given)
        draft = KeyDraft(**{**given, "models": given.get("models") or ("*",)})
        async with self._parts.desk.changing(ask.via) as admin:
            return await self._new(admin, await admin.keys.create(draft))

    async def show(self, ask: Ask) -> JSON:
        async with self._parts.desk.looking() as look:
            return await self._shown(look, ask.path["id"])

    async def change(self, ask: Ask) -> JSON:
        self._check(ask.body)
        async with self._parts.desk.changing(ask.via) as admin:
            await admin.keys.update(ask.path["id"], ask.body)
            return await self._shown(admin, ask.path["id"])

    async def rotate(self, ask: Ask) -> JSON:
        async with self._parts.desk.changing(ask.via) as admin:
            new = await admin.keys.rotate(ask.path["id"], ask.body.get("grace_s", 0.0))
            return await self._new(admin, new)

    async def revoke(self, ask: Ask) -> JSON:
        async with self._parts.desk.changing(ask.via) as admin:
            await admin.keys.revoke(ask.path["id"])
            return await self._shown(admin, ask.path["id"])

    def _check(self, given: Mapping[str, Any]) -> None:
        """Raises `InvalidRequest` for what no shape can know."""
        require_usable(given, self._parts)
        expires_at_ms = given.get("expires_at_ms")
        if expires_at_ms is not None and expires_at_ms <= self._parts.desk.clock():
            raise invalid("expires_at_ms", "lies in the past; revoke the key to end it")
        if given.get("models") == []:
            raise invalid("models", 'must name at least one pattern; ["*"] is every model')

    async def _shown(self, look: Administration, key_id: str) -> JSON:
        used = await look.keys.last_used([key_id])
        return _key(await look.keys.show(key_id), used.get(key_id), self._parts.desk.clock())

    async def _new(self, admin: Administration, new: NewKey) -> JSON:
        return {**await self._shown(admin, new.id), "secret": new.secret}


def _key(stored: StoredKey, last_used_ms: int | None, now_ms: int) -> JSON:
    return asdict(stored) | {"last_used_ms": last_used_ms, "state": stored.state(now_ms)}
