"""Is config.toml the whole reference, and true?"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest

from gateway.config import DEFAULT_RULES, Config
from gateway.configfile import RETRY_KINDS, load
from gateway.providers import provider_states
from gateway.tables import Setting, dotted, settings

FILE = Path(__file__).parent.parent / "config.toml"
# "#port = 8080" is a setting that is commented out; "# Where to listen" is prose.
COMMENTED_OUT = re.compile(r"^#(?! |$)", re.MULTILINE)


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """The file with all that is commented out switched on."""
    return tomllib.loads(COMMENTED_OUT.sub("", FILE.read_text("utf-8")))


def found(table: Any, path: tuple[str, ...]) -> list[Any]:
    """The values at a path; `NAME` stands for each name, `[]` for each of an array."""
    if not path:
        return [table]
    if path[0] == "[]":
        return [value for item in table for value in found(item, path[1:])]
    if not isinstance(table, Mapping):
        return []
    names = list(table) if path[0] == "NAME" else [path[0]]
    return [value for name in names if name in table for value in found(table[name], path[1:])]


def test_the_file_works_as_it_is() -> None:
    config = load(FILE, {})
    on = [s.name for s in provider_states(config, {}, FILE.parent) if s.entry]
    assert on == ["echo"]
    assert config.providers["echo"].models == ("echo", "echo-slow")


def test_the_file_works_with_everything_switched_on(tmp_path: Path) -> None:
    copy = tmp_path / "config.toml"
    copy.write_text(COMMENTED_OUT.sub("", FILE.read_text("utf-8")), "utf-8")
    assert load(copy, {}).models


def test_what_is_active_changes_no_default() -> None:
    active = load(FILE, {})
    for name in ("server", "database", "keys", "calls", "retry", "health"):
        assert getattr(active, name) == getattr(Config(), name)


@pytest.mark.parametrize("setting", list(settings(Config)), ids=lambda s: dotted(s.path))
def test_every_setting_appears_with_its_default(
    setting: Setting, everything: dict[str, Any]
) -> None:
    values = found(everything, setting.path)
    assert values
    default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    if setting.path[:3] == ("retry", "rules", "NAME"):
        return  # the table of rules is compared as a whole
    if setting.path[0] == "providers":
        values = found(everything["providers"]["example"], setting.path[2:])
        assert values
    if default is MISSING or default is None or default == {}:
        return  # what stands there is an example
    if setting.path[0] in ("models", "model_info"):
        return
    assert values == [default]


def test_the_rules_of_retry_are_the_defaults(everything: dict[str, Any]) -> None:
    rules = {
        kind: {"same_target": rule.same_target, "next_target": rule.next_target}
        for kind, rule in DEFAULT_RULES.items()
    }
    assert everything["retry"]["rules"] == rules
    assert set(RETRY_KINDS) == set(rules)


def test_each_comment_is_prose_or_a_setting() -> None:
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            assert re.match(r'#($| |[a-z0-9_-]+ = |\[?\[[a-z0-9_."/-]+\]\]?$)', line), line


def test_every_setting_of_a_section_has_a_comment_above_its_block() -> None:
    lines = FILE.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("[") and not line.startswith("[providers."):
            following = lines[number + 1]
            above = lines[number - 1]
            assert following.startswith("# ") or above.startswith("# "), line
