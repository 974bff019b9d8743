"""`sluice prices`: what do models cost, and from which day on?"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from gateway import figures
from gateway.catalog import Catalog
from gateway.cli.commands import Commands, Failure
from gateway.cli.deployment import Deployment, administered
from gateway.cli.filters import unix_ms
from gateway.cli.output import Column, json_option, print_json, print_rows, yes_or_no
from gateway.cli.pricediff import (
    MILLION,
    CurrentPrices,
    PriceChange,
    per_million,
    price_changes,
    shown_rows,
)
from gateway.cli.pricefiles import PriceFile
from gateway.cli.progress import progress
from gateway.cli.times import When, moment

_LIST = (
    Column("model", "model", style="bold"),
    Column("input", "input/M", per_million, right=True),
    Column("output", "output/M", per_million, right=True),
    Column("others", "further figures", right=True),
    Column("source", "set in"),
    Column("effective_from_ms", "from (UTC)", moment),
    Column("in_force", "in force", yes_or_no),
    Column("id", "id"),
)
_DIFF = (
    Column("model", "model", style="bold"),
    Column("figure", "figure"),
    Column("before", "before/M", per_million, right=True),
    Column("after", "after/M", per_million, right=True),
)
_from_option = click.option(
    "--from", "since", type=When("future"), metavar="WHEN", help="From then on; default: now."
)


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice prices list
  sluice prices set openai/gpt-4o --input 2.50 --output 10
  sluice prices set openai/gpt-4o --input 2 --output 8 --from 2027-01-01
  sluice prices update model_prices_and_context_window.json --model 'openai/*'
  sluice prices remove price_3f2a9c1e77aa
""",
)
def prices() -> None:
    """Prices of one's own: list, set, update from a file, and take back.

    What was settled keeps its price; see sluice recost for what it would have cost.
    """


@prices.command(
    "list",
    epilog="""\b
Examples:
  sluice prices list
  sluice prices list --json
""",
)
@json_option
@administered
def list_(as_json: bool, deployment: Deployment) -> None:
    """List the prices that the configuration or an administrator sets, dated ones too.

    What nobody set comes from litellm's table.
    """
    rows = deployment.ask("GET", "prices")["data"]
    print_rows([_row(row) for row in rows], _LIST, "json" if as_json else "table")


@prices.command(
    "set",
    epilog="""\b
Examples:
  sluice prices set openai/gpt-4o --input 2.50 --output 10
  sluice prices set openai/gpt-4o --input 2 --output 8 --from 2027-01-01
  sluice prices set openai/gpt-4o cache_read_input_token_cost=0.00000125

With both --input and --output the price replaces the table's whole; with less it corrects single
figures.
""",
)
@click.argument("model", metavar="PROVIDER/MODEL")
@click.argument("given", nargs=-1, metavar="[FIGURE=USD]...")
@click.option("--input", "input_", metavar="USD", help="Dollars for a million prompt tokens.")
@click.option("--output", metavar="USD", help="Dollars for a million completion tokens.")
@click.option("--cached", metavar="USD", help="Dollars for a million cached prompt tokens.")
@_from_option
@json_option
@administered
def set_(
    model: str,
    given: Sequence[str],
    input_: str | None,
    output: str | None,
    cached: str | None,
    since: float | None,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Set the price of PROVIDER/MODEL. FIGURE is litellm's name, USD dollars for one token."""
    named = {figures.INPUT: input_, figures.OUTPUT: output, figures.CACHED: cached}
    said = {name: _usd(text) / MILLION for name, text in named.items() if text is not None}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r} is not FIGURE=USD.")
        said[name] = _usd(text)
    if not said:
        raise click.UsageError("Give --input and --output, or figures as FIGURE=USD.")
    made = _add(deployment, model, {n: float(v) for n, v in said.items()}, unix_ms(since))
    if as_json:
        print_json(made)
    else:
        begins = moment(made["effective_from_ms"])
        click.echo(f"Price {made['id']}: {model} costs that from {begins} UTC on.")


@prices.command(epilog="\b\nExample:\n  sluice prices remove price_3f2a9c1e77aa\n")
@click.argument("price", metavar="ID")
@json_option
@administered
def remove(price: str, as_json: bool, deployment: Deployment) -> None:
    """Take back a price that is not in force yet."""
    removed = deployment.ask("DELETE", "prices", price)
    if as_json:
        print_json(removed)
    else:
        click.echo(f"Price {price} is taken back.")


@prices.command(
    epilog="""\b
Examples:
  sluice prices update model_prices_and_context_window.json
  sluice prices update prices.toml --from 2027-01-01 --yes
  sluice prices update table.json --model 'openai/gpt-*' --json

FILE is litellm's table, or TOML or JSON with a table for each provider/model, for example:

\b
  ["openai/gpt-4o"]
  input_cost_per_token = 2.5e-6
  output_cost_per_token = 1e-5
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", "models", multiple=True, metavar="PATTERN", help="Only these. Repeatable.")
@_from_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
@administered
def update(
    file: Path,
    models: Sequence[str],
    since: float | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Set the prices of FILE that differ, for models of the providers that are configured."""
    changes, left_out = _changes(deployment, PriceFile.load(file), tuple(models), unix_ms(since))
    rows = [change.as_row() for change in changes]
    if not as_json:
        _show(changes, left_out)
    if changes and not dry_run:
        if not yes:
            _confirm(len(changes))
        with progress("Setting prices", len(changes)) as advance:
            for change in changes:
                _add(deployment, change.model, change.figures, unix_ms(since))
                advance(1)
    if as_json:
        print_json({"changed": rows, "left_out": left_out, "dry_run": dry_run})
    elif changes and not dry_run:
        click.echo(f"Set {len(changes)} prices.")


def _changes(
    deployment: Deployment, file: PriceFile, models: tuple[str, ...], from_ms: int | None
) -> tuple[list[PriceChange], list[dict[str, str]]]:
    providers = {one["name"]: one for one in deployment.ask("GET", "providers")["data"]}
    at_ms = int(time.time() * 1000) if from_ms is None else from_ms
    listed = deployment.ask("GET", "prices")["data"]
    current = CurrentPrices(Catalog.load({}), providers, listed, at_ms)
    found = list(file.prices(providers, models))
    changes = price_changes((price for price in found if price.fault is None), current)
    faulty = price_changes((price for price in found if price.fault is not None), current)
    why = {price.model: price.fault or "" for price in found}
    return changes, [{"model": one.model, "why": why[one.model]} for one in faulty]


def _show(changes: Sequence[PriceChange], left_out: Sequence[dict[str, str]]) -> None:
    if changes:
        print_rows(shown_rows(changes), _DIFF)
    else:
        click.echo("No price differs.")
    for one in left_out:
        click.echo(f"Left out: {one['model']} is {one['why']}.", err=True)


def _confirm(number: int) -> None:
    if not sys.stdin.isatty():
        raise Failure("nobody is there to ask: add --yes")
    click.confirm(f"Set {number} prices?", abort=True, err=True)


def _add(
    deployment: Deployment, model: str, said: dict[str, float], from_ms: int | None
) -> dict[str, Any]:
    body = {"model": model, "figures": said, "effective_from_ms": from_ms}
    made: dict[str, Any] = deployment.ask("POST", "prices", body=body)
    return made


def _row(price: dict[str, Any]) -> dict[str, Any]:
    known = price["figures"]
    base = {"input": known.get(figures.INPUT), "output": known.get(figures.OUTPUT)}
    return price | base | {"others": len(known.keys() - {figures.INPUT, figures.OUTPUT})}


def _usd(text: str) -> Decimal:
    try:
        found = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite() or found < 0:
        raise click.UsageError(f"{text!r} is no amount of dollars.")
    return found
