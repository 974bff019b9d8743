"""Are third-party policies found, made and placed, and every fault of an entry named?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.config import Config, ConfigError, Place, PolicyEntry
from gateway.configfile import load
from gateway.exchange import Call, Handler, Policy, Reply, chain
from gateway.parts import Parts
from gateway.thirdparty import NotEvaluated, Placed, load_policies, with_third_party
from policies import request_path
from policies.keys import Keys
from tests.builders import Answers, call, completion

MODULE = """
class Word:
    def __init__(self, *, word="w", count=1):
        if count < 1:
            raise ValueError("count must be at least 1")
        if count > 9:
            raise OSError("no such list of words")
        self.word = word
    async def __call__(self, call, call_next):
        return await call_next(call.with_(body={**call.body, "word": self.word}))

class Declared(Word):
    supports_dry_run = True

class Plain:
    pass

class Blocking:
    def __call__(self, call, call_next):
        return call_next(call)

class Lonely:
    async def __call__(self, call):
        return None

async def function(call, call_next):
    return await call_next(call)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "house_rules.py").write_text(MODULE)
    (tmp_path / "broken_rules.py").write_text("def (")
    (tmp_path / "failing_rules.py").write_text("raise RuntimeError('not configured')")
    (tmp_path / "lacking_rules.py").write_text("import not_installed_anywhere")
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in ("house_rules", "broken_rules", "failing_rules", "lacking_rules"):
        sys.modules.pop(name, None)


def entry(use: str = "house_rules:Word", **more: Any) -> PolicyEntry:
    return PolicyEntry(use=use, **more)


async def seen(policy: Policy, asked: Call) -> Call:
    answers = Answers(completion())
    await chain([policy], answers)(asked)
    return answers.calls[0]


def test_no_entry_changes_nothing(tmp_path: Path) -> None:
    before = list(sys.path)
    assert load_policies([], tmp_path) == []
    assert sys.path == before


async def test_a_class_beside_the_configuration_is_made_with_its_settings(home: Path) -> None:
    (placed,) = load_policies([entry(settings={"word": "x"})], home)
    assert placed.after == "Route"
    assert (await seen(placed.policy, call())).body["word"] == "x"


def test_the_configurations_directory_is_searched_last(home: Path) -> None:
    load_policies([entry()], home)
    assert sys.path[-1] == str(home.resolve())


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"use": "house_rules"}, 'must be "module:Class"'),
        ({"use": ":Word"}, 'must be "module:Class"'),
        ({"use": ".house_rules:Word"}, 'must be "module:Class"'),
        ({"use": "house_rulez:Word"}, "there is no module house_rulez"),
        ({"use": "lacking_rules:Word"}, "there is no module not_installed_anywhere"),
        ({"use": "broken_rules:Word"}, "cannot be imported: invalid syntax"),
        ({"use": "failing_rules:Word"}, "cannot be imported: RuntimeError: not configured"),
        ({"settings": {"count": 10}}, "cannot be made: OSError: no such list of words"),
        ({"use": "house_rules:Wort"}, "house_rules has no Wort"),
        ({"use": "house_rules:Plain"}, "is no policy: a class with"),
        ({"use": "house_rules:Blocking"}, "is no policy: a class with"),
        ({"use": "house_rules:Lonely"}, "is no policy: a class with"),
        ({"use": "house_rules:function"}, "is no policy: a class with"),
        ({"settings": {"wort": "x"}}, "its settings are wrong: got an unexpected keyword"),
        ({"settings": {"count": 0}}, "its settings are wrong: count must be at least 1"),
    ],
)
def test_each_fault_is_named(home: Path, wrong: dict[str, Any], problem: str) -> None:
    bad = entry(**wrong)
    with pytest.raises(ConfigError) as caught:
        load_policies([bad, entry()], home)
    (found,) = caught.value.problems
    assert found.startswith(f'policies: use = "{bad.use}": {problem}')


def test_all_faults_are_named_at_once(home: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policies([entry("no_rules:A"), entry("house_rules:B")], home)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('after = "Root"', '4: policies.2.after = "Root": must be one of "Keys", "Ledger", '),
        ("words = 1", "4: policies.2.words = 1: unknown setting; "),
        ("settings = 1", "4: policies.2.settings = 1: must be a table"),
    ],
)
def test_a_fault_in_the_file_is_placed(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[[policies]]\nuse = "a:B"\n[[policies]]\n{text}\nuse = "a:B"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    (found,) = caught.value.problems
    assert found.startswith(f"{file}:{problem}")


def test_an_entry_names_its_class(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[[policies]]\nafter = "Keys"\n')
    with pytest.raises(ConfigError, match=r"policies\.1\.use: is required and missing"):
        load(file, {})


# ---------------------------------------------------------------------------- places


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        return await call_next(call)


def names(path: list[Policy]) -> list[str]:
    return [p.name if isinstance(p, Named) else type(p).__name__ for p in path]


def ours() -> list[Policy]:
    fields = dict.fromkeys(Parts.__dataclass_fields__)
    parts: Any = Parts(**{**fields, "config": Config(), "sinks": ()})  # type: ignore[arg-type]
    return request_path(parts, Keys(parts.keyring, time.time))


def test_our_own_policies_are_known_places_in_their_order() -> None:
    order = list(get_args(Place))
    found = names(ours())
    assert set(found) <= set(order)
    assert found == sorted(found, key=order.index)


@pytest.mark.parametrize("place", get_args(Place))
def test_a_policy_stands_after_its_place_or_what_is_before_it(place: str) -> None:
    path = names(with_third_party(ours(), [Placed(Named("own"), place)]))
    order = [*get_args(Place)]
    at = path.index("own")
    assert [order.index(name) <= order.index(place) for name in path[:at]] == [True] * at
    assert all(order.index(name) > order.index(place) for name in path[at + 1 :])


def test_policies_at_one_place_keep_the_files_order() -> None:
    added = [Placed(Named("one"), "Keys"), Placed(Named("two"), "Keys")]
    assert names(with_third_party(ours(), added))[:3] == ["Keys", "one", "two"]


# ----------------------------------------------------------------------- explanations


async def test_an_explanation_passes_by_what_does_not_declare_support(home: Path) -> None:
    (placed,) = load_policies([entry()], home)
    asked = call(dry_run=True)
    assert "word" not in (await seen(placed.policy, asked)).body
    assert asked.trace.describe() == [{"fact": "not_evaluated", "policy": "Word"}]
    assert asked.trace.all(NotEvaluated)


async def test_an_explanation_runs_what_declares_support(home: Path) -> None:
    (placed,) = load_policies([entry("house_rules:Declared")], home)
    asked = call(dry_run=True)
    assert (await seen(placed.policy, asked)).body["word"] == "w"
    assert asked.trace.facts == []
