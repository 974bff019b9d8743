"""Do an alias's fallbacks serve those who may use them, and nobody else?"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.config import Health as Settings
from gateway.directory import Resolution
from gateway.errors import CapabilityMissing, ProviderNotFound, ServerError
from gateway.exchange import Call
from gateway.health import Attempt, Health
from gateway.keys import VirtualKey
from gateway.picking import Picker
from gateway.targets import Target
from gateway.trace import Routed, Skipped
from gateway.wire.requests import requested_capabilities
from policies.route import Route
from tests.builders import Answers, call, completion, target
from tests.fakes.clock import Clock

OWN, OTHER, LAST = target("p/own"), target("q/other"), target("r/last")
TOOLS = {"tools": [{"type": "function", "function": {"name": "f"}}]}


class Directory:
    """Aliases by name; one without targets is switched off."""

    def __init__(self, aliases: Mapping[str, tuple[Target, ...]], *fallback_on: str) -> None:
        self._aliases = aliases
        self._fallback_on = frozenset(fallback_on)

    async def resolve(self, name: str, key: VirtualKey) -> Resolution:
        targets = self._aliases[name]
        if not targets:
            raise ProviderNotFound("x")
        others = tuple(alias for alias in self._aliases if alias != name)
        return Resolution(
            alias=name,
            grants=(name,),
            targets=targets,
            fallbacks=others if name == "m" else (),
            fallback_on=self._fallback_on,
        )


class World:
    """Route over some aliases."""

    def __init__(self, directory: Directory) -> None:
        self.health = Health(Settings(consecutive_failures=1), clock=Clock())
        self._route = Route(directory, requested_capabilities, Picker(self.health))  # type: ignore[arg-type]

    async def routed(self, asked: Call) -> tuple[Target, ...]:
        answers = Answers(completion())
        await self._route(asked, answers)
        return answers.calls[0].candidates


def asked(*models: str, body: Mapping[str, object] | None = None) -> Call:
    return call(body=dict(body or {}), key=VirtualKey(id="k", name="k", models=models))


async def test_fallbacks_come_after_the_aliases_own_targets() -> None:
    world = World(Directory({"m": (OWN,), "n": (OTHER,), "o": (LAST,)}))
    made = asked("*")
    found = await world.routed(made)
    assert [(t.name, t.fallback) for t in found] == [
        ("p/own", None),
        ("q/other", "n"),
        ("r/last", "o"),
    ]
    assert made.trace.all(Routed)[0].targets == ("p/own", "q/other", "r/last")


async def test_only_if_the_key_may_use_those_aliases_too() -> None:
    world = World(Directory({"m": (OWN,), "n": (OTHER,), "o": (LAST,)}))
    made = asked("m", "o", "q/*")
    found = await world.routed(made)
    assert [t.name for t in found] == ["p/own", "r/last"]
    assert made.trace.all(Skipped) == [Skipped("n", "not allowed")]


async def test_fallbacks_of_fallbacks_are_not_followed() -> None:
    world = World(Directory({"m": (OWN,), "n": (OTHER,)}))
    found = await world.routed(call(body={"model": "n"}))
    assert [t.name for t in found] == ["q/other"]


async def test_a_fallback_that_is_off_or_cannot_is_passed_over() -> None:
    unable = target("q/other", model={"tools": False})
    world = World(Directory({"m": (OWN,), "n": (unable,), "o": (), "x": (LAST,)}))
    found = await world.routed(asked("*", body=TOOLS))
    assert [t.name for t in found] == ["p/own", "r/last"]


async def test_what_the_alias_itself_cannot_is_refused_as_ever() -> None:
    unable = target("p/own", model={"tools": False})
    with pytest.raises(CapabilityMissing):
        await World(Directory({"m": (unable,), "n": (OTHER,)})).routed(asked("*", body=TOOLS))


@pytest.mark.parametrize(("kinds", "first"), [((), "q/other"), (("timeout",), "p/own")])
async def test_benched_targets_give_way_to_fallbacks_for_all_errors_only(
    kinds: tuple[str, ...], first: str
) -> None:
    world = World(Directory({"m": (OWN,), "n": (OTHER,)}, *kinds))
    with pytest.raises(ServerError), Attempt(world.health, OWN, 1e9):
        raise ServerError("x")
    found = await world.routed(asked("*"))
    assert found[0].name == first
    assert found[-1].fallback_on == (frozenset(kinds) if first == "p/own" else frozenset())
