"""`/targets`: which targets are there, how are they, and may one be tried again at once?

Health is each process's own, and so is this answer: `process` names who gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.parts import AdminParts
from gateway.edge.admin.shapes import JSON, Fields, Flag, Many, Maybe, Number, Text, Whole
from gateway.errors import NotFound
from gateway.generation import Generation
from gateway.store.keytable import change

_STATES = ("closed", "probing", "benched")
TARGET = Fields(
    {
        "name": Text(free=True),
        "provider": Text(free=True),
        "model": Text(free=True),
        "aliases": Many(Text(free=True)),
        "on": Flag(),
        "state": Text(choices=_STATES),
        "benched_until_ms": Maybe(Whole()),
        "in_flight": Whole(),
        "latency_ms": Maybe(Number()),
        "attempts": Whole(),
        "errors": Whole(),
    },
    name="Target",
)
CREDENTIAL = Fields(
    {
        "provider": Text(free=True),
        "credential": Text(free=True),
        "model": Maybe(Text(free=True)),
        "state": Text(choices=_STATES),
        "benched_until_ms": Maybe(Whole()),
    },
    name="RefusedCredential",
)
_LIST = Fields(
    {
        "object": Text(choices=("list",)),
        "process": Text(free=True),
        "data": Many(TARGET),
        "credentials": Many(CREDENTIAL),
        "next": Maybe(Text()),
    }
)


class Targets:
    """Health and load as this process sees them."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/targets",
            summary="Targets, and credentials that providers refused, as this process sees them.",
            act=self.list,
            answer=_LIST,
        )
        yield Operation(
            method="POST",
            path="/targets/{name:path}/reset",
            summary="Forget a target's failures, and those of its credentials, in this process.",
            act=self.reset,
            answer=Fields({"process": Text(free=True), "target": TARGET}),
        )

    async def list(self, ask: Ask) -> JSON:
        names = _names(self._parts.generation(), self._parts.health.names())
        return {
            "object": "list",
            "process": self._parts.process(),
            "data": [self._target(name) for name in names],
            "credentials": self._refused(),
            "next": None,
        }

    async def reset(self, ask: Ask) -> JSON:
        health, name = self._parts.health, ask.path["name"]
        if name not in _names(self._parts.generation(), health.names()):
            raise NotFound(f"There is no target {name!r}.")
        process, desk = self._parts.process(), self._parts.desk
        before = {"state": health.state(name), "process": process}
        async with (
            desk.changing(ask.via) as admin,
            change(admin.db, ask.via, desk.clock()) as audit,
        ):
            await audit.note("target.reset", name, before, None)
        health.reset(name)
        return {"process": process, "target": self._target(name)}

    def _target(self, name: str) -> JSON:
        generation, health = self._parts.generation(), self._parts.health
        provider, _, model = name.partition("/")
        on = {state.name for state in generation.providers if state.entry is not None}
        aliases = [a for a, alias in generation.config.models.items() if name in alias.names]
        seen = health.view(name)
        return {
            "name": name,
            "provider": provider,
            "model": model,
            "aliases": aliases,
            "on": provider in on,
            "state": seen.state,
            "benched_until_ms": self._moment_ms(seen.benched_for_s),
            "in_flight": health.load.in_flight(name),
            "latency_ms": round(health.load.latency_s(name) * 1000, 1) or None,
            "attempts": seen.attempts,
            "errors": seen.failures,
        }

    def _refused(self) -> Sequence[JSON]:
        return [
            {
                "provider": refused.provider,
                "credential": refused.credential,
                "model": refused.model,
                "state": refused.seen.state,
                "benched_until_ms": self._moment_ms(refused.seen.benched_for_s),
            }
            for refused in self._parts.health.refusals()
        ]

    def _moment_ms(self, from_now_s: float | None) -> int | None:
        return None if from_now_s is None else self._parts.desk.clock() + int(from_now_s * 1000)


def _names(generation: Generation, seen: list[str]) -> list[str]:
    """Every target of an alias, every listed model, and what has failed; in this order, once."""
    config = generation.config
    aliased = (name for alias in config.models.values() for name in alias.names)
    listed = (f"{name}/{model}" for name, p in config.providers.items() for model in p.models)
    return list(dict.fromkeys([*aliased, *listed, *seen]))
