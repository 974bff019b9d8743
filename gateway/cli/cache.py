"""`sluice cache`: what does the cache do, and how is it cleared?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from gateway.cache.tally import COUNTS
from gateway.cli.commands import Commands
from gateway.cli.completing import complete_keys, complete_teams
from gateway.cli.deployment import Deployment, administered
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.objects import found_key, key_id
from gateway.cli.output import (
    Column,
    Format,
    dollars,
    json_option,
    plain,
    print_json,
    print_rows,
)
from gateway.record import usd
from gateway.store.cacheadmin import GROUPS

_TABLE = (
    Column("hits", "hits", right=True),
    Column("coalesced", "shared", right=True),
    Column("misses", "misses", right=True),
    Column("hit_rate", "hit rate", lambda rate: "-" if rate is None else f"{rate:.1%}", right=True),
    Column("additions", "kept", right=True),
    Column("unreadable", "unreadable", right=True),
    Column("saved_tokens", "tokens saved", right=True),
    Column("saved_nano_usd", "saved", dollars, right=True),
)
_NUMBERS = (*COUNTS, "saved_usd", "hit_rate")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice cache stats --by team --since 7d
  sluice cache clear --alias faq
""",
)
def cache() -> None:
    """The cache: what it does in all processes together, and clearing it."""


@cache.command(
    epilog="""\b
Examples:
  sluice cache stats --since 7d
  sluice cache stats --by team --by day --format csv
"""
)
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(list(GROUPS)),
    help="A row for each: of teams, keys, models as asked for, days, hours. Repeatable.",
)
@filter_options
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@administered
def stats(
    by: Sequence[str],
    since: float | None,
    until: float | None,
    key: str | None,
    team: str | None,
    model: str | None,
    how: Format,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Sum up hits, misses and savings of the hours that begin in the period."""
    groups = tuple(dict.fromkeys(by))
    answer = deployment.ask(
        "GET",
        "cache",
        by=groups or None,
        since=unix_ms(since),
        until=unix_ms(until),
        key=key_id(deployment, key),
        team=team,
        model=model,
    )
    found = answer["data"] if groups else [{"group": {}, **answer["totals"]}]
    rows = [_row(row) for row in found]
    named = [Column(name, name) for name in groups]
    if how == "csv" and not as_json:
        print_rows(rows, [*named, *(Column(name, name) for name in _NUMBERS)], "csv")
    else:
        print_rows(rows, [*named, *_TABLE], "json" if as_json else how)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: row[name] for name in COUNTS}
    rest = {"saved_usd": usd(row["saved_nano_usd"]), "hit_rate": row["hit_rate"]}
    return {**row["group"], **counts, **rest}


@cache.command(
    epilog="""\b
Examples:
  sluice cache clear
  sluice cache clear --team research --alias faq
"""
)
@click.option("--team", shell_complete=complete_teams, help="Of this team's keys.")
@click.option(
    "--key",
    shell_complete=complete_keys,
    help="Of this key, which has no team: its id or its name.",
)
@click.option("--namespace", help="In this namespace, as callers name it.")
@click.option("--alias", help="For this alias, or model, as it was asked for.")
@json_option
@administered
def clear(
    team: str | None,
    key: str | None,
    namespace: str | None,
    alias: str | None,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Put what the cache keeps out of use, all of it or all in the scope of the options."""
    if team is not None and key is not None:
        raise click.UsageError("--team and --key exclude each other.")
    key = None if key is None else found_key(deployment, key)["id"]
    given = {"team": team, "key": key, "namespace": namespace, "model": alias}
    scope = {name: text for name, text in given.items() if text is not None}
    cleared = deployment.ask("POST", "cache", "clear", body=scope)
    if as_json:
        print_json(cleared)
    else:
        _tell(scope, cleared["deleted"])


def _tell(scope: Mapping[str, str], deleted: Mapping[str, int | None]) -> None:
    named = ", ".join(f"{name} {plain(text)}" for name, text in scope.items())
    click.echo(f"Cleared the cache{f' ({named})' if named else ''} in all processes.")
    for place, number in deleted.items():
        if number is None:
            click.echo(
                f"{place} could not be reached: what lies there is out of use, and expires.",
                err=True,
            )
        else:
            click.echo(f"Deleted {number} entries: {place}.")
