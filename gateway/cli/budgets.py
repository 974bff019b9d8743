"""`sluice budgets`: what may a key, a team, a model or a tag cost?"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast, get_args

import click

from gateway.budgets import ScopeKind
from gateway.cli.commands import Commands, Failure
from gateway.cli.configuration import config_option, read
from gateway.cli.database import administering
from gateway.cli.output import Column, dollars, print_json, print_rows
from gateway.periods import PERIODS, PeriodName, zone
from gateway.record import NANO
from gateway.store.budgetadmin import BudgetDraft, BudgetState, UnknownBudget
from gateway.store.keyadmin import KeyAdmin

# Until every running process knows of the budget; see `gateway.store.keyring.POLL_S`.
_KNOWN_EVERYWHERE_S = 1.0

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

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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


@budgets.command("set")
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
@_json_option
@config_option
def set_(
    scope: str,
    limit: str,
    period: str,
    zone_name: str,
    hard: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Make a budget for SCOPE, or change the one with the same period."""
    _check_zone(zone_name)
    limit_nano_usd = _nano_usd(limit)

    async def act() -> BudgetState:
        async with administering(read(config_path), config_path) as admin:
            kind, value = await _scope(scope, admin.keys)
            draft = BudgetDraft(
                scope=kind,
                scope_value=value,
                period=cast(PeriodName, period),
                zone=zone_name,
                limit_nano_usd=limit_nano_usd,
                hard=hard,
            )
            made = await admin.budgets.set(draft)
            await asyncio.sleep(_KNOWN_EVERYWHERE_S)
            await admin.budgets.recount(made)
            return next(s for s in await admin.budgets.list() if s.budget.id == made.id)

    state = asyncio.run(act())
    if as_json:
        print_json(_row(state))
    else:
        words = f"{state.budget.name}: {_row(state)['kind']}, {dollars(limit_nano_usd)}"
        click.echo(f"Budget {words}, of which {dollars(state.spent_nano_usd)} is spent.")


@budgets.command("list")
@_json_option
@config_option
def list_(as_json: bool, config_path: Path) -> None:
    """List the budgets with what is spent, reserved and left in their current periods."""

    async def act() -> list[BudgetState]:
        async with administering(read(config_path), config_path) as admin:
            return await admin.budgets.list()

    rows = [_row(state) for state in asyncio.run(act())]
    print_rows(rows, _LIST, "json" if as_json else "table")


@budgets.command()
@_scope_argument
@click.option("--period", type=click.Choice(PERIODS), help="Only the budget of this period.")
@_json_option
@config_option
def remove(scope: str, period: str | None, as_json: bool, config_path: Path) -> None:
    """Remove SCOPE's budgets."""

    async def act() -> int:
        async with administering(read(config_path), config_path) as admin:
            kind, value = await _scope(scope, admin.keys)
            try:
                return await admin.budgets.remove(kind, value, cast(PeriodName | None, period))
            except UnknownBudget as error:
                raise Failure(f"{error}.") from None

    count = asyncio.run(act())
    if as_json:
        print_json({"removed": count})
    else:
        click.echo(f"Removed {count} of {scope}.")


async def _scope(text: str, keys: KeyAdmin) -> tuple[ScopeKind, str]:
    kind, colon, value = text.partition(":")
    if kind not in get_args(ScopeKind) or not colon or not value:
        raise click.UsageError(f"{text!r} is not key:ID, team:NAME, model:NAME or tag:NAME.")
    if kind == "key":
        known = await keys.list()
        ids = [key.id for key in known if key.id == value] or [
            key.id for key in known if key.name == value and key.revoked_at_ms is None
        ]
        if len(ids) != 1:
            raise click.UsageError(f"{value!r} is no key's id, nor the name of a single key.")
        value = ids[0]
    return cast(ScopeKind, kind), value


def _nano_usd(text: str) -> int:
    try:
        amount = Decimal(text.removeprefix("$")) * NANO
        nano_usd = int(amount)
    except (InvalidOperation, ValueError, OverflowError):
        raise click.UsageError(f"{text!r} is no amount of dollars.") from None
    if nano_usd != amount or not 0 <= nano_usd < 2**62:
        raise click.UsageError(f"{text!r} is no amount of dollars that can be counted.")
    return nano_usd


def _check_zone(name: str) -> None:
    try:
        zone(name)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


def _row(state: BudgetState) -> dict[str, Any]:
    budget = state.budget
    endless = budget.period == "total"
    at = zone(budget.zone)
    since, until = (
        None if endless else datetime.fromtimestamp(ms / 1000, at).isoformat()
        for ms in state.period
    )
    return {
        **asdict(budget),
        "scope": f"{budget.scope}:{budget.scope_value}",
        "kind": "hard" if budget.hard else "soft",
        "spent_nano_usd": state.spent_nano_usd,
        "reserved_nano_usd": state.reserved_nano_usd,
        "left_nano_usd": state.left_nano_usd,
        "since": since,
        "until": until,
    }
