"""Output: how is a list of rows printed, for people, for spreadsheets and for programs?"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.record import usd

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

Format = Literal["table", "csv", "json"]
Row = Mapping[str, Any]

# Where no terminal says how wide it is, a line is never broken.
_WIDTH_IN_A_FILE = 10_000


def plain(value: object) -> str:
    """A value as a cell's text. Control characters could steer the terminal: they are replaced."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(k)}={plain(v)}" for k, v in value.items()) or "-"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def dollars(nano_usd: int | None) -> str:
    """A cost to the millionth of a dollar; JSON and CSV have it exactly."""
    return "-" if nano_usd is None else f"${usd((nano_usd + 500) // 1000 * 1000)[:-3]}"


def seconds(duration_ms: int | None) -> str:
    if duration_ms is None:
        return "-"
    return f"{duration_ms} ms" if duration_ms < 1000 else f"{duration_ms / 1000:.2f} s"


def yes_or_no(value: object) -> str:
    return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `name` is the row's key, and the heading in CSV; numbers stand to the right."""

    name: str
    title: str
    show: Callable[[Any], str] = plain
    right: bool = False
    style: str | None = None


def print_rows(rows: Sequence[Row], columns: Sequence[Column], how: Format = "table") -> None:
    """The rows in the form asked for. JSON has everything, the other forms have the columns."""
    if how == "json":
        print_json(list(rows))
    elif how == "csv":
        _print_csv(rows, columns)
    else:
        _print_table(rows, columns)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_fields(row: Row, columns: Sequence[Column]) -> None:
    """One row, a line per column."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for column in columns:
        table.add_row(column.title, _cell(column, row))
    screen().print(table)


def _print_table(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    if not rows:
        click.echo("There is none.", err=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: Literal["right", "left"] = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, style=column.style, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row) for column in columns))
    screen().print(table)


def _cell(column: Column, row: Row) -> Text:
    return Text(column.show(row[column.name]))  # a plain string would be read as rich's markup


def _print_csv(rows: Iterable[Row], columns: Sequence[Column]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(row[column.name]) for column in columns])


def _csv_cell(value: object) -> object:
    if value is None:
        return ""
    return plain(value) if isinstance(value, list | tuple | Mapping) else value


def screen(otherwise: int = _WIDTH_IN_A_FILE) -> Console:
    """Standard output: as wide as its terminal is."""
    stream = sys.stdout
    width = None if stream.isatty() else otherwise
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)
