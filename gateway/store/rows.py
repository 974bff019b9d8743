"""One statement over many rows: how is a batch written in few steps?

Each step of SQLite gives the interpreter's lock away and has to win it back from a busy event
loop, so eighty rows in two statements wait far less than in eighty. The sizes are few, so that
their prepared statements stay cached.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

Row = tuple[Any, ...]

_SIZES = (64, 16, 4, 1)


class Statement:
    """`text(values)` makes the SQL around a `VALUES` list of rows of `width` columns.

    `single` is cheaper SQL for one row with the same parameters, where there is any.
    """

    def __init__(self, width: int, text: Callable[[str], str], single: str | None = None) -> None:
        row = f"({', '.join('?' * width)})"
        self._texts = {size: text(", ".join([row] * size)) for size in _SIZES}
        if single is not None:
            self._texts[1] = single

    def execute(self, db: sqlite3.Connection, rows: Sequence[Row]) -> None:
        start = 0
        for size in _SIZES:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                db.execute(self._texts[size], tuple(chain.from_iterable(chunk)))
                start += size


def insert(table: str, columns: Sequence[str], on_conflict: str = "") -> Statement:
    """`INSERT INTO table (columns) VALUES …`."""
    names = ", ".join(columns)
    return Statement(
        len(columns),
        # The names are this package's constants; values are always parameters.
        lambda values: f"INSERT INTO {table} ({names}) VALUES {values} {on_conflict}",  # noqa: S608
    )
