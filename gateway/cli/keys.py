"""`sluice keys`: who may call, with which models, until when?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from gateway.cli.bindings import parsed
from gateway.cli.commands import Commands
from gateway.cli.completing import complete_keys, complete_teams
from gateway.cli.deployment import Deployment, administered, listed
from gateway.cli.objects import found_key
from gateway.cli.output import Column, json_option, print_fields, print_json, print_rows
from gateway.cli.settings import assigned, assignments, parsed_settings
from gateway.cli.times import When, moment, seconds

_LIST = (
    Column("id", "id", style="bold"),
    Column("name", "name"),
    Column("team", "team"),
    Column("models", "models"),
    Column("state", "state"),
    Column("expires_at_ms", "expires (UTC)", moment),
)
_SHOW = (
    *_LIST[:5],
    Column("tags", "tags"),
    Column("credentials", "bound to"),
    Column("settings", "settings"),
    Column("prefix", "begins with"),
    Column("created_at_ms", "created (UTC)", moment),
    Column("expires_at_ms", "expires (UTC)", moment),
    Column("revoked_at_ms", "revoked (UTC)", moment),
    Column("last_used_ms", "last used (UTC)", moment),
    Column("rotated_from", "in place of"),
)

_key_argument = click.argument("key", metavar="KEY", shell_complete=complete_keys)


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice keys create laptop --team research --model 'gpt-*' --expires 90d
  sluice keys list
  sluice keys rotate laptop --grace 24h
  sluice keys revoke 3f2a9c1e
  sluice keys list --url https://gateway.example.com

KEY is an id, or the name of a single key that still works.
""",
)
def keys() -> None:
    """Virtual keys: create, list, show, revoke and rotate them.

    A change holds in every process within a second.
    """


@keys.command(
    epilog="""\b
Examples:
  sluice keys create laptop
  sluice keys create ci --team build --model 'openai/*' --model fast --expires 30d --tag nightly
  sluice keys create lab --bind openai=research --set rpm=60
  OPENAI_API_KEY=$(sluice keys create script)
"""
)
@click.argument("name")
@click.option(
    "--team",
    shell_complete=complete_teams,
    help="The team it belongs to; a new name makes a new team.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="PATTERN",
    help="A model it may use: an alias or provider/model; * and ? match. Repeatable; default: all.",
)
@click.option("--expires", type=When("future"), help="When it ends: 30d, 12h, or a date in UTC.")
@click.option("--tag", "tags", multiple=True, help="A tag for its calls in the ledger. Repeatable.")
@click.option(
    "--bind",
    "bindings",
    multiple=True,
    metavar="PROVIDER=CREDENTIAL",
    help="Use a named credential of a provider instead of its own. Repeatable.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting, as with sluice keys set. Repeatable.",
)
@json_option
@administered
def create(
    name: str,
    team: str | None,
    models: Sequence[str],
    expires: float | None,
    tags: Sequence[str],
    bindings: Sequence[str],
    settings: Sequence[str],
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Create the key NAME and print its secret, once.

    The secret alone goes to standard output; the rest is said on standard error.
    """
    if not name.strip() or not name.isprintable():
        raise click.UsageError("A key needs a printable name.")
    if expires is not None and expires <= time.time():
        raise click.UsageError("--expires lies in the past.")
    draft = {
        "name": name,
        "team": team,
        "models": list(models) or ["*"],
        "tags": list(tags),
        "credentials": parsed(bindings, deployment),
        "settings": parsed_settings(settings),
        "expires_at_ms": None if expires is None else int(expires * 1000),
    }
    _print_new(deployment.ask("POST", "keys", body=draft), as_json)


@keys.command(
    "list",
    epilog="""\b
Examples:
  sluice keys list
  sluice keys list --all --team research --json
""",
)
@click.option("--all", "everything", is_flag=True, help="Revoked and expired keys as well.")
@click.option("--team", shell_complete=complete_teams, help="Of this team.")
@json_option
@administered
def list_(everything: bool, team: str | None, as_json: bool, deployment: Deployment) -> None:
    """List the keys that work, newest first."""
    state = None if everything else "active"
    rows = listed(deployment, "keys", state=state, team=team)
    print_rows(rows, _LIST, "json" if as_json else "table")


@keys.command(epilog="\b\nExample:\n  sluice keys show laptop\n")
@_key_argument
@json_option
@administered
def show(key: str, as_json: bool, deployment: Deployment) -> None:
    """Show one key."""
    row = found_key(deployment, key)
    if as_json:
        print_json(row)
    else:
        print_fields(row, _SHOW)


@keys.command(
    "set",
    epilog="""\b
Examples:
  sluice keys set laptop rpm=60 tpm=100000
  sluice keys set laptop rpm=
""",
)
@_key_argument
@assignments
@json_option
@administered
def set_(key: str, settings: Sequence[str], as_json: bool, deployment: Deployment) -> None:
    """Change settings of a key; NAME= alone removes one, and its team's holds again."""
    changes = {"settings": parsed_settings(settings)}
    found = found_key(deployment, key)
    changed = deployment.ask("PATCH", "keys", found["id"], body=changes)
    if as_json:
        print_json(changed)
    else:
        said = assigned(changed["settings"])
        click.echo(f"Key {changed['id']} ({changed['name']}) has {said}.")


@keys.command(epilog="\b\nExamples:\n  sluice keys revoke laptop\n  sluice keys revoke 3f2a9c1e\n")
@_key_argument
@json_option
@administered
def revoke(key: str, as_json: bool, deployment: Deployment) -> None:
    """End a key for good, within a second in every process."""
    found = found_key(deployment, key)
    revoked = deployment.ask("POST", "keys", found["id"], "revoke")
    if as_json:
        print_json(revoked)
    else:
        click.echo(f"Key {revoked['id']} ({revoked['name']}) is revoked.")


@keys.command(
    epilog="""\b
Examples:
  sluice keys rotate laptop
  OPENAI_API_KEY=$(sluice keys rotate script --grace 24h)
"""
)
@_key_argument
@click.option("--grace", metavar="SPAN", help="How long the old key still works: 24h, 7d.")
@json_option
@administered
def rotate(key: str, grace: str | None, as_json: bool, deployment: Deployment) -> None:
    """Replace a key by a new one with the same rights, and print the new secret, once."""
    grace_s = seconds(grace) if grace else 0
    old = found_key(deployment, key)
    made = deployment.ask("POST", "keys", old["id"], "rotate", body={"grace_s": grace_s})
    _print_new(made, as_json)


def _print_new(made: dict[str, Any], as_json: bool) -> None:
    secret = made.pop("secret")
    if as_json:
        print_json(made | {"key": secret})
        return
    click.echo(f"Key {made['id']} ({made['name']}). It is shown only now:", err=True)
    click.echo(secret)
