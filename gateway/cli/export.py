"""`sluice export`: the ledger for a spreadsheet, a data warehouse or a cost tool."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import aiosqlite
import click

from gateway.cli import exporting
from gateway.cli.configuration import config_option, read
from gateway.cli.database import ledger_path
from gateway.cli.exportfiles import CsvRows, JsonRows, ParquetRows, RowWriter
from gateway.cli.exporting import Field, Period, Row
from gateway.cli.filters import unix_ms
from gateway.cli.focus import FIELDS, Focus
from gateway.cli.output import print_json
from gateway.cli.progress import progress
from gateway.cli.times import When
from gateway.store import exports
from gateway.store.keytable import select_keys
from gateway.store.sqlite import reading

What = Literal["calls", "charges", "usage"]
How = Literal["csv", "jsonl", "parquet", "focus"]
_TABLES = {"calls": exports.CALLS, "charges": exports.CHARGES}


@click.command(
    epilog="""\b
Examples:
  sluice export usage --since 30d -o usage.csv
  sluice export calls --since 2026-11-01 --until 2026-12-01 --format jsonl > november.jsonl
  sluice export charges --format parquet -o charges.parquet
  sluice export usage --format focus --since 2026-11-01 -o focus.csv

calls are as they were answered; charges are their attempts at providers, with cost and tokens;
usage is charges summed up by day of UTC, key, team, model and target, also of what was pruned.
focus has the columns of FOCUS 1.2, as CSV, or as Parquet where FILE ends in .parquet.
"""
)
@click.argument("what", type=click.Choice(["calls", "charges", "usage"]))
@click.option(
    "--format",
    "how",
    type=click.Choice(["csv", "jsonl", "parquet", "focus"]),
    default="csv",
    show_default=True,
    help="The form.",
)
@click.option("--since", type=When("past"), help="From then on: 24h, 7d, or a date in UTC.")
@click.option("--until", type=When("past"), help="Before then; default: now.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file, which is replaced when all is written; default: standard output.",
)
@click.option("--account", default="sluice", show_default=True, help="FOCUS's BillingAccountId.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON; with -o.")
@config_option
def export(
    what: What,
    how: How,
    since: float | None,
    until: float | None,
    output: Path | None,
    account: str,
    as_json: bool,
    config_path: Path,
) -> None:
    """Write all calls, charges or usage of a period, whatever their number.

    Costs are exact: they add up to what the ledger has, to the nano-dollar.
    """
    if how == "focus" and what == "calls":
        raise click.UsageError("FOCUS is about costs: export charges or usage.")
    if output is None and (as_json or (how == "parquet" and sys.stdout.isatty())):
        raise click.UsageError("This needs a file: -o FILE.")
    path = ledger_path(read(config_path), config_path)
    with _written(output) as file:
        number = asyncio.run(
            _Export(what, how, account, file, output).run(path, unix_ms(since), unix_ms(until))
        )
    if as_json:
        print_json({"file": str(output), "rows": number})
    else:
        click.echo(f"Wrote {number} rows.", err=True)


class _Export:
    """One file's way from the database."""

    def __init__(
        self, what: What, how: How, account: str, file: IO[bytes], output: Path | None
    ) -> None:
        self._what = what
        self._how = how
        self._account = account
        self._file = file
        self._output = output

    async def run(self, path: Path, since_ms: int | None, until_ms: int | None) -> int:
        """How many rows were written."""
        number = 0
        async with reading(path) as db:
            now_ms = int(time.time() * 1000)
            period = await exporting.whole_period(db, since_ms, until_ms, now_ms)
            fields, batches = await self._source(db, period)
            writer = self._writer(fields)
            with progress(f"Exporting {self._what}", await self._total(db, period)) as advance:
                async for rows in batches:
                    writer.write(rows)
                    number += len(rows)
                    advance(1 if self._what == "usage" else len(rows))
            writer.close()
        return number

    async def _source(
        self, db: aiosqlite.Connection, period: Period
    ) -> tuple[Sequence[Field], AsyncIterator[list[Row]]]:
        names = {key.id: key.name for key in await select_keys(db)}
        if self._how == "focus":
            focus = Focus(self._account, names)
            rows = focus.usage if self._what == "usage" else focus.charges
            return FIELDS, rows(db, period)
        if self._what == "usage":
            return exporting.USAGE, exporting.usage_rows(db, period, names)
        fields = exporting.CALLS if self._what == "calls" else exporting.CHARGES
        return fields, exporting.table_rows(db, _TABLES[self._what], period, names)

    def _writer(self, fields: Sequence[Field]) -> RowWriter:
        as_parquet = self._output is not None and self._output.suffix == ".parquet"
        if self._how == "parquet" or (self._how == "focus" and as_parquet):
            return ParquetRows(self._file, fields)
        return JsonRows(self._file, fields) if self._how == "jsonl" else CsvRows(self._file, fields)

    async def _total(self, db: aiosqlite.Connection, period: Period) -> int | None:
        """Of days, or rows; nobody counts them for nobody."""
        if self._what == "usage":
            return len(list(exporting.days(period)))
        if not sys.stderr.isatty():
            return None
        return await exports.count(db, _TABLES[self._what], period.since_ms, period.until_ms)


@contextmanager
def _written(output: Path | None) -> Iterator[IO[bytes]]:
    """A file is there when all of it is."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
