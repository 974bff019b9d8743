"""`sluice teams`: which are there, and what is a team told?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cache.epochs import Scope
from gateway.cli.bindings import parsed
from gateway.cli.cache import delete_entries
from gateway.cli.commands import Commands, Failure
from gateway.cli.configuration import config_option, read
from gateway.cli.database import administering
from gateway.cli.output import Column, print_json, print_rows
from gateway.cli.settings import assignments, listed, parsed_settings
from gateway.store.keytable import StoredKey
from gateway.store.teamadmin import TeamInUse, UnknownTeam

_LIST = (
    Column("name", "team", style="bold"),
    Column("keys", "keys", right=True),
    Column("credentials", "bound to"),
    Column("settings", "settings"),
)

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice teams list
  sluice teams bind research openai=lab
  sluice teams bind research --remove openai
  sluice teams delete research --revoke-keys
""",
)
def teams() -> None:
    """Teams: list and delete them, and bind them to credentials of their own."""


@teams.command("list")
@_json_option
@config_option
def list_(as_json: bool, config_path: Path) -> None:
    """List the teams, with the number of their keys that are not revoked."""

    async def act() -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Any]], list[StoredKey]]:
        async with administering(read(config_path), config_path) as admin:
            known = admin.keys
            return await known.team_bindings(), await known.team_settings(), await known.list()

    bindings, settings, keys = asyncio.run(act())
    members = Counter(key.team for key in keys if key.revoked_at_ms is None)
    rows = [
        {
            "name": name,
            "keys": members[name],
            "credentials": credentials,
            "settings": settings[name],
        }
        for name, credentials in bindings.items()
    ]
    print_rows(rows, _LIST, "json" if as_json else "table")


@teams.command("set")
@click.argument("team")
@assignments
@_json_option
@config_option
def set_(team: str, settings: Sequence[str], as_json: bool, config_path: Path) -> None:
    """Change settings of TEAM, for all its keys that have none of their own."""
    changes = parsed_settings(settings)

    async def act() -> dict[str, Any]:
        async with administering(read(config_path), config_path) as admin:
            return await admin.keys.set_team(team, changes)

    after = asyncio.run(act())
    if as_json:
        print_json({"name": team, "settings": after})
    else:
        click.echo(f"Team {team} has {listed(after)}.")


@teams.command()
@click.argument("team")
@click.option("--revoke-keys", is_flag=True, help="Revoke its keys, if there are any that work.")
@_json_option
@config_option
def delete(team: str, revoke_keys: bool, as_json: bool, config_path: Path) -> None:
    """Delete TEAM with its budgets, bindings and settings; what was cached for it is gone.

    The ledger keeps what it used.
    """

    config = read(config_path)

    async def act() -> tuple[str, ...]:
        async with administering(config, config_path) as admin:
            try:
                revoked = await admin.teams.delete(team, revoke_keys=revoke_keys)
            except UnknownTeam as error:
                raise Failure(f"{error}.") from None
            except TeamInUse as error:
                raise Failure(f"{error}. Add --revoke-keys to revoke them.") from None
        await delete_entries(config, config_path.parent, Scope(owner=f"team:{team}"))
        return revoked

    revoked = asyncio.run(act())
    if as_json:
        print_json({"name": team, "revoked": list(revoked)})
    else:
        keys = f" Revoked {len(revoked)} keys: {', '.join(revoked)}." if revoked else ""
        click.echo(f"Team {team} is deleted.{keys}")


@teams.command()
@click.argument("team")
@click.argument("bindings", nargs=-1, metavar="[PROVIDER=CREDENTIAL]...")
@click.option("--remove", multiple=True, metavar="PROVIDER", help="Remove a binding. Repeatable.")
@_json_option
@config_option
def bind(
    team: str, bindings: Sequence[str], remove: Sequence[str], as_json: bool, config_path: Path
) -> None:
    """Serve TEAM's keys with named credentials of providers.

    What a key is bound to itself goes before; without any binding a provider's own credential
    serves.
    """
    if not bindings and not remove:
        raise click.UsageError("Name at least one PROVIDER=CREDENTIAL, or --remove PROVIDER.")
    config = read(config_path)
    added = parsed(bindings, config)

    async def act() -> dict[str, str]:
        async with administering(config, config_path) as admin:
            before = (await admin.keys.team_bindings()).get(team, {})
            kept = {name: value for name, value in before.items() if name not in remove}
            after = kept | added
            await admin.keys.bind_team(team, after)
            return after

    after = asyncio.run(act())
    if as_json:
        print_json({"name": team, "credentials": after})
    else:
        bound = ", ".join(f"{name}={value}" for name, value in after.items())
        click.echo(f"Team {team} is bound to {bound or 'nothing'}.")
