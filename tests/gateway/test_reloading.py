"""Reloading: when is the configuration file read anew?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from gateway.config import Config, ConfigError, Context
from gateway.generation import Generation, Generations
from gateway.managed import Managed
from gateway.reloading import Reloads, Watch, following


def test_a_change_is_told_once_when_the_file_stands_still(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("a")
    watch = Watch(file)
    assert not watch.changed()
    file.write_text("ab")
    assert not watch.changed()  # it may still be being written
    file.write_text("abc")
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed()


def test_a_file_that_is_replaced_by_another_of_the_same_size_has_changed(tmp_path: Path) -> None:
    file, other = tmp_path / "config.toml", tmp_path / "new"
    file.write_text("a")
    watch = Watch(file)
    other.write_text("b")
    other.replace(file)
    assert [watch.changed(), watch.changed()] == [False, True]


def test_a_file_that_is_gone_has_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("a")
    watch = Watch(file)
    file.unlink()
    assert [watch.changed(), watch.changed()] == [False, False]


def test_a_parent_passes_on_only_what_is_sound(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("a")
    faults: list[str] = []

    def check() -> None:
        if faults:
            raise ConfigError(faults)

    reloads = Reloads(file, check)
    assert not reloads.due()
    reloads.asked = True
    assert reloads.due()
    assert not reloads.due()
    faults.append("bad")
    reloads.asked = True
    assert not reloads.due()
    file.write_text("ab")
    assert [reloads.due(), reloads.due()] == [False, False]


async def test_a_file_that_changed_while_the_process_started_is_followed(tmp_path: Path) -> None:
    (file := tmp_path / "config.toml").write_text("a")
    written = Config()
    followed = asyncio.Event()

    async def build(config: Config, managed: Managed) -> Generation:
        if config.context.strategy == "strict":
            followed.set()
        nothing = {name: cast(Any, None) for name in ("directory", "path", "admit")}
        return Generation(config=config, managed=managed, providers=(), **nothing)

    generations = Generations(written, build, lambda: written)
    await generations.start(Managed())
    written = Config(context=Context(strategy="strict"))  # before anybody watches the file
    async with following(file, generations, watch=True), asyncio.timeout(5):
        await followed.wait()
