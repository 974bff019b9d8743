"""Does a wheel hold all that the packages read beside their modules?"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


@pytest.mark.parametrize("package", ["gateway", "policies"])
def test_every_file_of_a_package_is_in_the_wheel(package: str) -> None:
    home = ROOT / package
    files = {path for path in home.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    patterns = SETTINGS["package-data"].get(package, [])
    named = {path for pattern in patterns for path in home.glob(pattern)}
    assert {path for path in files if path.suffix != ".py"} <= named


def test_every_package_is_found() -> None:
    """What is no package by an `__init__.py` is found all the same, or would be left out."""
    assert SETTINGS["packages"]["find"]["include"] == ["gateway*", "policies*"]
    modules = {
        path.parent for name in ("gateway", "policies") for path in (ROOT / name).rglob("*.py")
    }
    assert all((home / "__init__.py").exists() for home in modules)
