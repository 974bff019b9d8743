"""Do the documents draw providers, lanes, policies, modules and tables as they are?"""

from __future__ import annotations

import re
import sqlite3
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, get_args

import pytest

from gateway.config import Config
from gateway.kinds import KINDS
from gateway.parts import Parts
from gateway.store.migrate import migrate
from gateway.targets import LaneName
from policies import request_path
from policies.keys import Keys
from tests.docs.documents import ROOT, Document, codes

ARCHITECTURE = Document.read("docs/architecture.md")
LEDGER = Document.read("docs/ledger.md")
PROVIDERS = Document.read("docs/providers.md")
README = Document.read("README.md")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("env:"):
        yield value.removeprefix("env:")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)


def test_every_provider_of_the_file_is_documented_with_its_variables() -> None:
    configured = tomllib.loads((ROOT / "config.toml").read_text("utf-8"))["providers"]
    expected = {
        name: (table["kind"], KINDS[table["kind"]].lane, set(references(table)))
        for name, table in configured.items()
    }
    found = {
        codes(name)[0]: (codes(kind)[0], lane, set(codes(variables)))
        for name, kind, lane, variables in PROVIDERS.section("Variables").rows()
    }
    assert found == expected


def test_every_kind_is_documented_and_no_other() -> None:
    section = PROVIDERS.section("Kinds")
    named: dict[str, tuple[str, str, bool]] = {}
    for kind, litellm_name, lane, base_url in section.rows():
        row = (codes(litellm_name)[0], lane, base_url == "needed")
        named |= {codes(kind)[0]: row, codes(litellm_name)[0]: row}
    (others,) = (p for p in section.text.split("\n\n") if p.startswith("`ai21_chat`"))
    named |= {kind: (kind, "library", False) for kind in codes(others)}
    assert named == {n: (kind.name, kind.lane, kind.needs_base_url) for n, kind in KINDS.items()}


def test_every_lane_is_documented_with_what_it_serves() -> None:
    lanes = set(get_args(LaneName))
    assert {row[0] for row in ARCHITECTURE.section("The lanes").rows()} == lanes
    rows = README.section("Which lane serves what, and why").rows()
    assert {row[0] for row in rows} == lanes
    for lane, kinds, *_ in rows:
        assert {KINDS[kind].lane for kind in codes(kinds)} == {lane}


def test_the_request_path_is_the_list() -> None:
    parts: Any = Parts(
        config=Config(),
        **dict.fromkeys(("keyring", "directory", "accounts", "pace", "health", "answers")),
        sinks=(),
    )
    path = request_path(parts, Keys(parts.keyring, time.time))
    rows = ARCHITECTURE.section("The request path").rows()
    assert [codes(row[0])[0] for row in rows] == [type(policy).__name__ for policy in path]


def test_the_layers_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [set(re.findall(r"[\w.]+", layer)) for layer in contract]
    checked = set().union(*layers)
    rows = ARCHITECTURE.section("Layout").rows()
    drawn = [{module(path) for path in codes_of_paths(row[1])} for row in rows]
    assert [names & checked for names in drawn] == layers


def codes_of_paths(cell: str) -> list[str]:
    return [code for code in codes(cell) if re.match(r"(gateway|policies)/", code)]


def module(path: str) -> str:
    return path.removesuffix(".py").rstrip("/").replace("/", ".")


def test_every_module_has_a_layer() -> None:
    named = {path for row in ARCHITECTURE.section("Layout").rows() for path in codes(row[1])}
    here = {f"gateway/{p.name}" for p in (ROOT / "gateway").glob("*.py")} - {"gateway/__init__.py"}
    packages = {f"gateway/{p.parent.name}/" for p in (ROOT / "gateway").glob("*/__init__.py")}
    assert (here | packages) - named == set()


@pytest.mark.parametrize("table", ["charges", "calls", "prices"])
def test_every_column_is_documented_and_no_other(table: str) -> None:
    rows = LEDGER.section(f"`{table}`").rows()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    assert {name for row in rows for name in codes(row[0])} == set(columns)
