"""Generations: what does a change of the configuration replace, while calls go on?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from gateway.config import Alias, Config, ConfigError, Server
from gateway.generation import Generation, Generations
from gateway.managed import DatedPrice, Managed

FIRST = Config(models={"smart": Alias(targets=("p/m",))})
OTHER = replace(FIRST, models={"smart": Alias(targets=("p/n",))})


class World:
    """A file, a clock, and a builder that remembers what it was asked for."""

    def __init__(self) -> None:
        self.file: Config | ConfigError = FIRST
        self.unusable: ConfigError | None = None
        self.now_s = 1000.0
        self.build_takes_s = 0.0
        self.meanwhile: Callable[[], None] | None = None
        self.built: list[tuple[Config, Managed]] = []
        self.generations = Generations(FIRST, self.build, self.read, lambda: self.now_s)

    def read(self) -> Config:
        if isinstance(self.file, ConfigError):
            raise self.file
        return self.file

    async def build(self, config: Config, managed: Managed) -> Generation:
        if self.unusable:
            raise self.unusable
        self.built.append((config, managed))
        self.now_s += self.build_takes_s
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        made = {"config": config, "managed": managed, "providers": ()}
        nothing = {name: cast(Any, None) for name in ("directory", "path", "admit")}
        return Generation(**made, **nothing)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.generations.start(Managed())
    return world


async def test_a_changed_file_makes_a_new_generation(world: World) -> None:
    before = world.generations.current
    world.file = OTHER
    reloaded = await world.generations.reload()
    assert (reloaded.changed, reloaded.needs_restart) == (("models",), ())
    assert world.generations.current is not before
    assert world.generations.current.config.models == OTHER.models


async def test_a_faulty_file_leaves_everything_as_it_is(world: World) -> None:
    before = world.generations.current
    world.file = ConfigError(["models.smart: no targets"])
    with pytest.raises(ConfigError, match="no targets"):
        await world.generations.reload()
    assert world.generations.current is before


async def test_a_generation_that_cannot_be_made_leaves_everything_as_it_is(world: World) -> None:
    before = world.generations.current
    world.file, world.unusable = OTHER, ConfigError(["no such policy"])
    with pytest.raises(ConfigError):
        await world.generations.reload()
    assert world.generations.current is before
    world.unusable = None
    assert (await world.generations.reload()).changed == ("models",)  # it was not forgotten


async def test_what_needs_a_restart_is_said_until_then_and_not_followed(world: World) -> None:
    world.file = replace(OTHER, server=Server(port=1))
    first = await world.generations.reload()
    assert (first.changed, first.needs_restart) == (("server", "models"), ("server",))
    assert world.generations.current.config == OTHER
    again = await world.generations.reload()
    assert (again.changed, again.needs_restart) == ((), ("server",))
    world.file = OTHER
    assert (await world.generations.reload()).needs_restart == ()


async def test_options_of_the_command_line_stay() -> None:
    world = World()
    started = replace(FIRST, server=Server(port=9999))
    world.generations = Generations(started, world.build, world.read, lambda: world.now_s)
    await world.generations.start(Managed())
    world.file = OTHER
    assert (await world.generations.reload()).needs_restart == ()
    assert world.generations.current.config.server.port == 9999


async def test_a_price_comes_into_force_at_its_moment(world: World) -> None:
    due = DatedPrice(model="p/m", effective_from_ms=1_000_050, figures={})
    await world.generations.manage(Managed(prices=(due,)))
    made = len(world.built)
    world.now_s = 1000.06  # the clock moves while the timer waits its 50 ms
    async with asyncio.timeout(5):
        while len(world.built) == made:  # noqa: ASYNC110 - a timer of the gateway's own
            await asyncio.sleep(0.005)
    assert len(world.built) == made + 1
    await world.generations.aclose()


async def test_the_timer_of_a_price_that_was_taken_back_is_stopped(world: World) -> None:
    due = DatedPrice(model="p/m", effective_from_ms=1_000_050, figures={})
    await world.generations.manage(Managed(prices=(due,)))
    await world.generations.manage(Managed())
    made = len(world.built)
    world.now_s = 1001.0
    await asyncio.sleep(0.1)
    assert len(world.built) == made


async def test_stored_things_that_cannot_be_used_leave_everything_as_it_is(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = world.generations.current
    world.unusable = ConfigError(["p/m: not a price"])
    await world.generations.manage(Managed())
    assert world.generations.current is before
    assert "p/m: not a price" in caplog.text


async def test_what_administrators_changed_is_not_forgotten_if_it_could_not_be_followed(
    world: World,
) -> None:
    """A secret that the file names may have been missing just then."""
    world.unusable = ConfigError(["the provider is required and its secret is missing"])
    newer = Managed(prices=(DatedPrice(model="p/m", effective_from_ms=1, figures={}),))
    await world.generations.manage(newer)
    world.unusable = None
    await world.generations.reload()
    assert world.generations.current.managed == newer


async def test_a_price_that_comes_due_while_a_generation_is_made_comes_into_force(
    world: World,
) -> None:
    due = DatedPrice(model="p/m", effective_from_ms=1_000_050, figures={})
    later = DatedPrice(model="p/m", effective_from_ms=9_000_000, figures={})
    world.build_takes_s = 1.0
    await world.generations.manage(Managed(prices=(due, later)))
    world.build_takes_s = 0.0
    made = len(world.built)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(world.built) == made + 1
    await world.generations.aclose()


async def test_what_administrators_change_during_the_start_is_followed() -> None:
    world = World()
    newer = Managed(prices=(DatedPrice(model="p/m", effective_from_ms=1, figures={}),))
    world.meanwhile = lambda: world.generations.follow(newer)
    await world.generations.start(Managed())
    async with asyncio.timeout(5):
        while world.generations.current.managed != newer:  # noqa: ASYNC110 - a task of its own
            await asyncio.sleep(0)


async def test_a_file_that_changed_since_the_start_read_it_is_followed() -> None:
    world = World()
    world.file = OTHER
    await world.generations.start(Managed())
    assert world.generations.current.config.models == OTHER.models
