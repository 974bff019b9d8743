"""Are all settings documented, with the type and default that they have, and no others?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, Literal, get_args, get_origin

import pytest

from gateway.config import Config
from gateway.tables import Setting, dotted, settings, table_of
from tests.docs.documents import ROOT, Document, codes

CONFIGURATION = Document.read("docs/configuration.md")

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def type_text(hint: Any) -> str:
    if get_origin(hint) is Literal:
        *names, last = (f'`"{name}"`' for name in get_args(hint))
        return f"{', '.join(names)} or {last}"
    if get_origin(hint) is tuple and table_of(get_args(hint)[0]):
        return "array of strings or tables"
    if get_origin(hint) is tuple:
        return f"array of {_TYPES[get_args(hint)[0]]}s"
    if get_origin(hint) is Mapping or (get_origin(hint) and len(get_args(hint)) == 2):
        inner = get_args(hint)[-1]
        return "table" if inner is Any else f"table of {_TYPES[inner]}s"
    return _TYPES[hint]


def default_text(default: Any) -> str:
    if default is MISSING:
        return "required"
    if default is None:
        return "none"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


def section_of(setting: Setting) -> str:
    if setting.path[-2:-1] == ("[]",):
        return f"`[[{dotted(setting.path[:-2])}]]`"
    return f"`[{dotted(setting.path[:-1])}]`"


@pytest.mark.parametrize("setting", list(settings(Config)), ids=lambda s: dotted(s.path))
def test_every_setting_has_its_type_and_default(setting: Setting) -> None:
    rows = {row[0]: row[1:3] for row in CONFIGURATION.section(section_of(setting)).rows()}
    expected = [type_text(setting.hint), default_text(setting.default)]
    assert rows.get(f"`{setting.path[-1]}`") == expected


def test_no_setting_is_documented_that_is_gone() -> None:
    known = {(section_of(setting), f"`{setting.path[-1]}`") for setting in settings(Config)}
    titles = [title for title in CONFIGURATION.headings() if title.startswith("`[")]
    found = {(t, row[0]) for t in titles for row in CONFIGURATION.section(t).rows()}
    assert found - known == set()


def test_every_variable_of_ours_is_documented() -> None:
    files = [*ROOT.glob("gateway/**/*.py"), *ROOT.glob("scripts/*")]
    read = {name for f in files for name in re.findall(r"\bSLUICE_[A-Z_]+", f.read_text("utf-8"))}
    read -= {"SLUICE_KEY"}  # a line of the file of first keys, and no setting
    rows = CONFIGURATION.section("Environment variables").rows()
    assert {codes(row[0])[0] for row in rows} == read | {"PYTHON"}
