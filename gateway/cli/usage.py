"""`sluice usage`: who used what, and what did it cost?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from gateway import periods
from gateway.cli.configuration import config_option, read
from gateway.cli.database import reporting
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.output import Column, Format, dollars, print_json, print_rows
from gateway.record import usd
from gateway.store.charges import COUNTS
from gateway.store.reports import GROUPS, Filter, UsageRow

_NOTES = ("unpriced", "estimated", "open", "lost")
_NUMBERS = ("calls", "attempts", *COUNTS, "cost_nano_usd", "cost_usd", *_NOTES)
_TABLE = (
    Column("calls", "calls", right=True),
    Column("prompt_tokens", "prompt", right=True),
    Column("cached_tokens", "cached", right=True),
    Column("completion_tokens", "completion", right=True),
    Column("cost_nano_usd", "cost", dollars, right=True),
    Column("notes", "notes"),
)


def _zone(_: click.Context, __: click.Parameter, name: str) -> tzinfo:
    try:
        return periods.zone(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog="""\b
Examples:
  sluice usage
  sluice usage --by day --by key --since 30d
  sluice usage --by team --since 2026-11-01 --until 2026-12-01 --format csv
  sluice usage --by target --model smart --json
  sluice usage --by day --zone Europe/Berlin --since 30d

Days and hours are UTC without --zone. An attempt with several tags counts for each of them. A cost
leaves out attempts that are unpriced or still open, and has lost ones (their process died) at
their upper bound; estimated means that a count is ours, not the provider's.
"""
)
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(list(GROUPS)),
    help="A row for each: of keys, teams, models as asked for, providers, … Repeatable.",
)
@filter_options
@click.option(
    "--zone", default="UTC", show_default=True, callback=_zone, help="Whose days and hours."
)
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@config_option
def usage(
    by: Sequence[str],
    since: float | None,
    until: float | None,
    key: str | None,
    team: str | None,
    model: str | None,
    zone: tzinfo,
    how: Format,
    as_json: bool,
    config_path: Path,
) -> None:
    """Sum up tokens and cost; by default for each model."""
    groups = tuple(dict.fromkeys(by)) or ("model",)

    async def act() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with reporting(read(config_path), config_path) as ledger:
            where = Filter(
                key=ledger.key_id(key),
                team=team,
                model=model,
                since_ms=unix_ms(since),
                until_ms=unix_ms(until),
            )
            found = await ledger.reports.usage(groups, where, zone)
            total = await ledger.reports.usage((), where)
            rows = [_row(groups, row, ledger.keys) for row in found]
            return rows, [_row((), row, {}) for row in total]

    rows, total = asyncio.run(act())
    if as_json or how == "json":
        print_json({"by": list(groups), "rows": rows, "total": total[0]})
        return
    named = [Column(name, name.replace("_", " ")) for name in _group_names(groups)]
    if how == "csv":
        print_rows(rows, [*named, *(Column(name, name) for name in _NUMBERS)], "csv")
        return
    for row in rows + total:
        row["notes"] = ", ".join(f"{row[name]} {name}" for name in _NOTES if row[name])
    # The sum is asked for, not added up: a call that two providers tried stands in two rows.
    sums = [dict.fromkeys(_group_names(groups)) | {named[0].name: "total"} | total[0]]
    print_rows(rows + (sums if len(rows) > 1 else []), [*named, *_TABLE])


def _group_names(groups: Sequence[str]) -> list[str]:
    return [
        name for group in groups for name in ([group, "key_name"] if group == "key" else [group])
    ]


def _row(groups: Sequence[str], row: UsageRow, keys: Mapping[str, str]) -> dict[str, Any]:
    group: dict[str, Any] = dict(zip(groups, row.group, strict=True))
    if "key" in group:
        group["key_name"] = keys.get(group["key"])
    return (
        {name: group[name] for name in _group_names(groups)}
        | {"calls": row.calls, "attempts": row.attempts}
        | dict(row.tokens)
        | {"cost_nano_usd": row.cost_nano_usd, "cost_usd": usd(row.cost_nano_usd)}
        | {name: getattr(row, name) for name in _NOTES}
    )
