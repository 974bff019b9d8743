"""Export files: how are rows written as CSV, JSON Lines or Parquet?"""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import IO, Any, Protocol

import orjson

from gateway.cli.commands import Failure
from gateway.cli.exporting import Field, Row
from gateway.record import usd

# A spreadsheet would take a text that begins so for a formula, and callers choose some texts.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class RowWriter(Protocol):
    """Takes rows, a value for each field. `close` ends the file's content, not the file."""

    def write(self, rows: Sequence[Row]) -> None: ...
    def close(self) -> None: ...


class CsvRows:
    """With a header. A text that a spreadsheet would calculate gets a `'` before it."""

    def __init__(self, file: IO[bytes], fields: Sequence[Field]) -> None:
        self._file = io.TextIOWrapper(file, "utf-8", newline="")
        self._cells = [_CELLS.get(field.kind, _as_it_is) for field in fields]
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([field.name for field in fields])

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows(
            [
                "" if value is None else cell(value)
                for cell, value in zip(self._cells, row, strict=True)
            ]
            for row in rows
        )

    def close(self) -> None:
        self._file.detach()  # which flushes, and leaves the file open


class JsonRows:
    """An object a line; every field is in it."""

    def __init__(self, file: IO[bytes], fields: Sequence[Field]) -> None:
        self._file = file
        self._fields = fields

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            values = {f.name: _json(f, value) for f, value in zip(self._fields, row, strict=True)}
            self._file.write(orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Nothing is held back."""


class ParquetRows:
    """Times are timestamps of UTC, dollars decimals with nine places."""

    def __init__(self, file: IO[bytes], fields: Sequence[Field]) -> None:
        self._arrow = _pyarrow("pyarrow")
        parquet = _pyarrow("pyarrow.parquet")
        kinds = {
            "text": self._arrow.string(),
            "json": self._arrow.string(),
            "whole": self._arrow.int64(),
            "number": self._arrow.float64(),
            "flag": self._arrow.bool_(),
            "time": self._arrow.timestamp("ms", tz="UTC"),
            "usd": self._arrow.decimal128(38, 9),
        }
        self._fields = fields
        self._types = [kinds[field.kind] for field in fields]
        self._schema = self._arrow.schema(
            [(f.name, kind) for f, kind in zip(fields, self._types, strict=True)]
        )
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        columns = list(zip(*rows, strict=True))
        arrays = [
            self._arrow.array([_column(field, value) for value in column], kind)
            for field, kind, column in zip(self._fields, self._types, columns, strict=True)
        ]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _pyarrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Failure(
            "Parquet needs pyarrow: install sluice-gateway[parquet], or take --format csv"
        ) from None


def iso(unix_ms: int) -> str:
    """`2026-11-01T12:00:00.123Z`; whole seconds have no fraction."""
    seconds, ms = divmod(unix_ms, 1000)
    day, second = divmod(seconds, 86_400)
    at = f"{_date(day)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{at}.{ms:03}Z" if ms else f"{at}Z"


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    """Days since 1970 to a date: made once for each, among millions of rows."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _as_it_is(value: Any) -> Any:
    return value


def _flag(value: Any) -> str:
    return "true" if value else "false"


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


_CELLS: Mapping[str, Callable[[Any], Any]] = {
    "usd": usd,
    "time": iso,
    "flag": _flag,
    "text": _text,
}


def _json(field: Field, value: Any) -> Any:
    if value is None:
        return None
    if field.kind == "usd":
        return usd(value)
    if field.kind == "json":
        return orjson.loads(value)
    return iso(value) if field.kind == "time" else value


def _column(field: Field, value: Any) -> Any:
    return Decimal(value).scaleb(-9) if field.kind == "usd" and value is not None else value
