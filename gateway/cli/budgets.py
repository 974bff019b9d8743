"""`sluice budgets`: what may a key, a team, a model or a tag cost?"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from gateway.budgets import SCOPES
from gateway.cli.commands import Commands
from gateway.cli.deployment import Deployment, NotThere, administered
from gateway.cli.objects import found_key
from gateway.cli.output import Column, dollars, json_option, print_json, print_rows
from gateway.periods import PERIODS, zone
from gateway.record import NANO

_LIST = (
    Column("scope", "scope", style="bold"),
    Column("period", "period"),
    Column("kind", "kind"),
    Column("limit_nano_usd", "limit", dollars, right=True),
    Column("spent_nano_usd", "spent", dollars, right=True),
    Column("reserved_nano_usd", "reserved", dollars, right=True),
    Column("left_nano_usd", "left", dollars, right=True),
    Column("since", "since"),
    Column("until", "until"),
)

_scope_argument = click.argument("scope", metavar="SCOPE")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice budgets set team:research --limit 50 --period month --zone Europe/Zurich
  sluice budgets set key:laptop --limit 2.50 --period day --soft
  sluice budgets list
  sluice budgets remove team:research

SCOPE is key:ID (or key:NAME), team:NAME, model:NAME or tag:NAME.
""",
)
def budgets() -> None:
    """Budgets: set, list and remove limits on money.

    A change holds in every process within a second.
    """


@budgets.command(
    "set",
    epilog="""\b
Examples:
  sluice budgets set team:research --limit 50 --zone Europe/Zurich
  sluice budgets set tag:nightly --limit 0.25 --period day --soft
""",
)
@_scope_argument
@click.option("--limit", required=True, metavar="USD", help="Dollars, such as 50 or 0.25.")
@click.option(
    "--period",
    type=click.Choice(PERIODS),
    default="month",
    show_default=True,
    help="Calendar periods; total never ends.",
)
@click.option(
    "--zone", "zone_name", default="UTC", show_default=True, help="The calendar's time zone."
)
@click.option(
    "--hard/--soft",
    default=True,
    show_default=True,
    help="Refuse calls that may exceed it, or only say so.",
)
@json_option
@administered
def set_(
    scope: str,
    limit: str,
    period: str,
    zone_name: str,
    hard: bool,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Make a budget for SCOPE, or change the one with the same period.

    It is there when every process knows it, in about a second.
    """
    limit_nano_usd = _nano_usd(limit)
    kind, value = _scope(scope, deployment)
    said = {
        "scope": kind,
        "scope_value": value,
        "period": period,
        "zone": zone_name,
        "limit_nano_usd": limit_nano_usd,
        "hard": hard,
    }
    row = _row(deployment.ask("PUT", "budgets", body=said))
    if as_json:
        print_json(row)
    else:
        words = f"{row['name']}: {row['kind']}, {dollars(limit_nano_usd)}"
        click.echo(f"Budget {words}, of which {dollars(row['spent_nano_usd'])} is spent.")


@budgets.command("list", epilog="\b\nExample:\n  sluice budgets list --json\n")
@json_option
@administered
def list_(as_json: bool, deployment: Deployment) -> None:
    """List the budgets with what is spent, reserved and left in their current periods."""
    rows = [_row(budget) for budget in deployment.ask("GET", "budgets")["data"]]
    print_rows(rows, _LIST, "json" if as_json else "table")


@budgets.command(
    epilog="""\b
Examples:
  sluice budgets remove team:research
  sluice budgets remove team:research --period day
"""
)
@_scope_argument
@click.option("--period", type=click.Choice(PERIODS), help="Only the budget of this period.")
@json_option
@administered
def remove(scope: str, period: str | None, as_json: bool, deployment: Deployment) -> None:
    """Remove SCOPE's budgets."""
    wanted = _scope(scope, deployment)
    found = [
        budget
        for budget in deployment.ask("GET", "budgets")["data"]
        if (budget["scope"], budget["scope_value"]) == wanted and period in (None, budget["period"])
    ]
    if not found:
        raise NotThere(f"{scope} has no budget{f' of a {period}' if period else ''}")
    for budget in found:
        deployment.ask("DELETE", "budgets", budget["id"])
    if as_json:
        print_json({"removed": len(found)})
    else:
        click.echo(f"Removed {len(found)} of {scope}.")


def _scope(text: str, deployment: Deployment) -> tuple[str, str]:
    kind, colon, value = text.partition(":")
    if kind not in SCOPES or not colon or not value:
        raise click.UsageError(f"{text!r} is not key:ID, team:NAME, model:NAME or tag:NAME.")
    if kind != "key":
        return kind, value
    try:
        return kind, found_key(deployment, value)["id"]
    except NotThere:
        raise click.UsageError(f"{value!r} is no key's id, nor a working key's name.") from None


def _nano_usd(text: str) -> int:
    try:
        amount = Decimal(text.removeprefix("$")) * NANO
        nano_usd = int(amount)
    except (InvalidOperation, ValueError, OverflowError):
        raise click.UsageError(f"{text!r} is no amount of dollars.") from None
    if nano_usd != amount or not 0 <= nano_usd < 2**62:
        raise click.UsageError(f"{text!r} is no amount of dollars that can be counted.")
    return nano_usd


def _row(budget: dict[str, Any]) -> dict[str, Any]:
    at = zone(budget["zone"])
    since, until = (
        None if ms is None else datetime.fromtimestamp(ms / 1000, at).isoformat()
        for ms in (budget["period_start_ms"], budget["period_end_ms"])
    )
    used = budget["spent_nano_usd"] + budget["reserved_nano_usd"]
    return {
        **budget,
        "scope": f"{budget['scope']}:{budget['scope_value']}",
        "kind": "hard" if budget["hard"] else "soft",
        "left_nano_usd": budget["limit_nano_usd"] - used,
        "since": since,
        "until": until,
    }
