"""`sluice teams`: which are there, and what is a team told?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gateway.cli.bindings import parsed
from gateway.cli.commands import Commands
from gateway.cli.completing import complete_teams
from gateway.cli.deployment import Deployment, NotThere, Refused, administered
from gateway.cli.output import Column, json_option, print_json, print_rows
from gateway.cli.settings import assigned, assignments, parsed_settings

_LIST = (
    Column("name", "team", style="bold"),
    Column("keys", "keys", right=True),
    Column("credentials", "bound to"),
    Column("settings", "settings"),
)

_team_argument = click.argument("team", shell_complete=complete_teams)


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice teams create research
  sluice teams list
  sluice teams bind research openai=lab
  sluice teams bind research --remove openai
  sluice teams delete research --revoke-keys
""",
)
def teams() -> None:
    """Teams: create, list and delete them, and bind them to credentials of their own."""


@teams.command(
    epilog="""\b
Examples:
  sluice teams create research
  sluice teams create research --set rpm=600 --bind openai=lab
"""
)
@click.argument("team")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting, as with sluice teams set. Repeatable.",
)
@click.option(
    "--bind",
    "bindings",
    multiple=True,
    metavar="PROVIDER=CREDENTIAL",
    help="Use a named credential of a provider. Repeatable.",
)
@json_option
@administered
def create(
    team: str,
    settings: Sequence[str],
    bindings: Sequence[str],
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Create TEAM. A key that names a new team creates it as well."""
    given = {"settings": parsed_settings(settings), "credentials": parsed(bindings, deployment)}
    made = deployment.ask("POST", "teams", body={"name": team, **given})
    if as_json:
        print_json(made)
    else:
        click.echo(f"Team {team} is there.")


@teams.command("list", epilog="\b\nExample:\n  sluice teams list --json\n")
@json_option
@administered
def list_(as_json: bool, deployment: Deployment) -> None:
    """List the teams, with the number of their keys that are not revoked."""
    rows = deployment.ask("GET", "teams")["data"]
    print_rows(rows, _LIST, "json" if as_json else "table")


@teams.command("set", epilog="\b\nExample:\n  sluice teams set research rpm=600 cache=on\n")
@_team_argument
@assignments
@json_option
@administered
def set_(team: str, settings: Sequence[str], as_json: bool, deployment: Deployment) -> None:
    """Change settings of TEAM, for all its keys that have none of their own."""
    after = _change(deployment, team, {"settings": parsed_settings(settings)})
    if as_json:
        print_json(after)
    else:
        click.echo(f"Team {team} has {assigned(after['settings'])}.")


@teams.command(
    epilog="""\b
Examples:
  sluice teams delete research
  sluice teams delete research --revoke-keys
"""
)
@_team_argument
@click.option("--revoke-keys", is_flag=True, help="Revoke its keys, if there are any that work.")
@json_option
@administered
def delete(team: str, revoke_keys: bool, as_json: bool, deployment: Deployment) -> None:
    """Delete TEAM with its budgets, bindings and settings; what was cached for it is gone.

    The ledger keeps what it used.
    """
    try:
        deleted = deployment.ask("DELETE", "teams", team, revoke_keys=revoke_keys)
    except Refused as refused:
        raise Refused(f"{refused.message} Add --revoke-keys to revoke them.") from None
    if as_json:
        print_json({"name": team, "revoked": deleted["revoked"]})
    else:
        revoked = deleted["revoked"]
        keys = f" Revoked {len(revoked)} keys: {', '.join(revoked)}." if revoked else ""
        click.echo(f"Team {team} is deleted.{keys}")


@teams.command(
    epilog="""\b
Examples:
  sluice teams bind research openai=lab
  sluice teams bind research --remove openai
"""
)
@_team_argument
@click.argument("bindings", nargs=-1, metavar="[PROVIDER=CREDENTIAL]...")
@click.option("--remove", multiple=True, metavar="PROVIDER", help="Remove a binding. Repeatable.")
@json_option
@administered
def bind(
    team: str,
    bindings: Sequence[str],
    remove: Sequence[str],
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Serve TEAM's keys with named credentials of providers.

    What a key is bound to itself goes before; without any binding a provider's own credential
    serves.
    """
    if not bindings and not remove:
        raise click.UsageError("Name at least one PROVIDER=CREDENTIAL, or --remove PROVIDER.")
    added = parsed(bindings, deployment)
    before = _credentials(deployment, team)
    kept = {name: value for name, value in before.items() if name not in remove}
    after = _change(deployment, team, {"credentials": kept | added})["credentials"]
    if as_json:
        print_json({"name": team, "credentials": after})
    else:
        bound = ", ".join(f"{name}={value}" for name, value in after.items())
        click.echo(f"Team {team} is bound to {bound or 'nothing'}.")


def _credentials(deployment: Deployment, team: str) -> dict[str, str]:
    try:
        found: dict[str, str] = deployment.ask("GET", "teams", team)["credentials"]
    except NotThere:
        return {}
    return found


def _change(deployment: Deployment, team: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Of a team that is not there yet, too: it is made."""
    try:
        changed: dict[str, Any] = deployment.ask("PATCH", "teams", team, body=changes)
    except NotThere:
        changed = deployment.ask("POST", "teams", body={"name": team, **changes})
    return changed
