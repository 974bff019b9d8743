"""TOML lines: on which line does a setting stand?"""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any

from gateway.tables import Path


def line_numbers(source: str) -> dict[Path, int]:
    """The first line of every table and setting of a valid TOML document, by its path.

    tomllib keeps no positions. But a statement parses alone exactly when it is complete, so its
    lines are gathered until they do; no grammar of TOML is repeated here.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: Counter[Path] = Counter()  # of the tables in an array so far
    statement, first = "", 1
    for number, line in enumerate(source.split("\n"), start=1):
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        paths = _paths(parsed, ())
        if statement.lstrip().startswith("["):
            table = max(paths, key=len, default=())
            if statement.lstrip().startswith("[["):
                counts[table] += 1
                paths.append((*table, str(counts[table])))
                table = paths[-1]
        else:
            paths = [(*table, *path) for path in paths]
        for path in paths:
            found.setdefault(path, first)
        statement, first = "", number + 1
    return found


def line_of(path: Path, numbers: dict[Path, int]) -> int | None:
    """The line of a setting, or of the nearest table around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in numbers:
            return numbers[path[:length]]
    return None


def _paths(value: Any, path: Path) -> list[Path]:
    if not isinstance(value, dict):
        return []
    below = []
    for name, inner in value.items():
        below += [(*path, name), *_paths(inner, (*path, name))]
    return below
