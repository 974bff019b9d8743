"""`sluice prune`: old calls go, and what they came to is kept."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from gateway.cli.commands import Failure
from gateway.cli.configuration import config_option, read
from gateway.cli.database import ledger_path
from gateway.cli.output import json_option, print_json
from gateway.cli.progress import progress
from gateway.cli.times import When, moment
from gateway.store.keytable import change
from gateway.store.retention import Prunable, Pruned, prunable, prune
from gateway.store.rollup.roll import catch_up
from gateway.store.sqlite import reading


@click.command(
    "prune",
    epilog="""\b
Examples:
  sluice prune --older-than 90d --dry-run
  sluice prune --older-than 90d --yes

The file does not shrink: what becomes free in it is used again. A gateway may run meanwhile.
""",
)
@click.option(
    "--older-than",
    "before",
    type=When("past"),
    required=True,
    metavar="WHEN",
    help="Calls from before then: 90d, or a date in UTC; at least a day.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@config_option
def prune_command(
    before: float, dry_run: bool, yes: bool, as_json: bool, config_path: Path
) -> None:
    """Delete old calls and their attempts. Reports and budgets stay the same, by their sums.

    Single calls of that time, and their traces, cannot be shown or exported any more.
    """
    path = ledger_path(read(config_path), config_path)
    before_ms = int(before * 1000)
    asyncio.run(catch_up(path))
    try:
        found = asyncio.run(_look(path, before_ms))
    except ValueError as error:
        raise click.UsageError(f"--older-than: {error}.") from None
    if not as_json:
        words = f"{found.calls} calls and {found.charges} attempts"
        click.echo(f"Before {moment(found.before_ms)} UTC: {words}.", err=not dry_run)
    pruned = Pruned(calls=0, charges=0)
    if not dry_run and (found.calls or found.charges):
        if not yes:
            _confirm()
        pruned = asyncio.run(_prune(path, before_ms, found))
    if as_json:
        told = {"before_ms": found.before_ms, "calls": found.calls, "charges": found.charges}
        print_json(told | {"dry_run": dry_run})
    elif not dry_run:
        click.echo(f"Deleted {pruned.calls} calls and {pruned.charges} attempts.")


async def _look(path: Path, before_ms: int) -> Prunable:
    async with reading(path) as db:
        return await prunable(db, before_ms, _now_ms())


async def _prune(path: Path, before_ms: int, found: Prunable) -> Pruned:
    done = Pruned(calls=0, charges=0)
    async with reading(path) as db:
        async with change(db, "cli", _now_ms()) as audit:
            await audit.note("ledger.prune", "ledger", None, {"before_ms": found.before_ms})
        with progress("Deleting", found.calls + found.charges) as advance:
            async for step in prune(db, before_ms, _now_ms()):
                advance(step.calls + step.charges - done.calls - done.charges)
                done = step
    return done


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Failure("nobody is there to ask: add --yes")
    click.confirm("Delete them for good?", abort=True, err=True)


def _now_ms() -> int:
    return int(time.time() * 1000)
