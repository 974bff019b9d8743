"""`sluice usage`: who used what, and what did it cost?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from gateway.cli.deployment import Deployment, administered
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.objects import key_id
from gateway.cli.output import Column, Format, dollars, print_json, print_rows
from gateway.record import usd
from gateway.store.charges import COUNTS
from gateway.store.usagereport import GROUPS

_NOTES = ("errors", "unpriced", "estimated", "open", "lost")
_NUMBERS = ("calls", "attempts", *COUNTS, "cost_nano_usd", "cost_usd", *_NOTES)
_TABLE = (
    Column("calls", "calls", right=True),
    Column("prompt_tokens", "prompt", right=True),
    Column("cached_tokens", "cached", right=True),
    Column("completion_tokens", "completion", right=True),
    Column("cost_nano_usd", "cost", dollars, right=True),
    Column("notes", "notes"),
)
_DAY_MS = 86_400_000
# A day less than the admin API answers; see `gateway.edge.admin.usage`.
_LONGEST_DAYS = {"hour": 31, "day": 1499}


@click.command(
    epilog="""\b
Examples:
  sluice usage
  sluice usage --by day --by key --since 30d
  sluice usage --by team --since 2026-11-01 --until 2026-12-01 --format csv
  sluice usage --by target --model smart --json
  sluice usage --by day --zone Europe/Berlin --since 30d

Days and hours are UTC without --zone; without --since they are those of the last four years, or
31 days of hours. An attempt with several tags counts for each of them. A cost leaves out attempts
that are unpriced or still open, and has lost ones (their process died) at their upper bound;
estimated means that a count is ours, not the provider's.
"""
)
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(list(GROUPS)),
    help="A row for each: of keys, teams, models as asked for, providers, … Repeatable.",
)
@filter_options
@click.option("--zone", default="UTC", show_default=True, help="Whose days and hours.")
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@administered
def usage(
    by: Sequence[str],
    since: float | None,
    until: float | None,
    key: str | None,
    team: str | None,
    model: str | None,
    zone: str,
    how: Format,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Sum up tokens and cost; by default for each model."""
    groups = tuple(dict.fromkeys(by)) or ("model",)
    until_ms = unix_ms(until)
    where = {
        "since": _since(unix_ms(since), until_ms, groups),
        "until": until_ms,
        "key": key_id(deployment, key),
        "team": team,
        "model": model,
        "zone": zone,
    }
    rows = [_row(row, groups) for row in deployment.ask("GET", "usage", by=groups, **where)["data"]]
    # The sum is asked for, not added up: a call that two providers tried stands in two rows.
    (whole,) = deployment.ask("GET", "usage", **where)["data"]
    total = _row(whole, ())
    if as_json or how == "json":
        print_json({"by": list(groups), "rows": rows, "total": total})
        return
    named = [Column(name, name.replace("_", " ")) for name in _group_names(groups)]
    if how == "csv":
        print_rows(rows, [*named, *(Column(name, name) for name in _NUMBERS)], "csv")
        return
    for row in [*rows, total]:
        row["notes"] = ", ".join(f"{row[name]} {name}" for name in _NOTES if row[name])
    sums = [dict.fromkeys(_group_names(groups)) | {named[0].name: "total"} | total]
    print_rows(rows + (sums if len(rows) > 1 else []), [*named, *_TABLE])


def _since(since_ms: int | None, until_ms: int | None, groups: Sequence[str]) -> int | None:
    """Hours and days are bounded."""
    days = min((_LONGEST_DAYS[name] for name in groups if name in _LONGEST_DAYS), default=None)
    if since_ms is not None or days is None:
        return since_ms
    until_ms = int(time.time() * 1000) if until_ms is None else until_ms
    return max(0, until_ms - days * _DAY_MS)


def _group_names(groups: Sequence[str]) -> list[str]:
    return [
        name for group in groups for name in ([group, "key_name"] if group == "key" else [group])
    ]


def _row(row: dict[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = (
        {name: row["group"][name] for name in _group_names(groups)}
        | {"calls": row["calls"], "attempts": row["attempts"]}
        | row["tokens"]
        | {"cost_nano_usd": row["cost_nano_usd"], "cost_usd": usd(row["cost_nano_usd"])}
        | {name: row[name] for name in _NOTES}
    )
    return found
