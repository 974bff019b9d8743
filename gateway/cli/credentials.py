"""`sluice credentials`: which secrets of providers are kept, and how are they replaced?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from gateway.cli.commands import Commands
from gateway.cli.deployment import Deployment, administered
from gateway.cli.objects import found_credential
from gateway.cli.output import Column, json_option, print_json, print_rows, yes_or_no
from gateway.cli.times import moment
from gateway.managed import DEFAULT

_LIST = (
    Column("provider", "provider", style="bold"),
    Column("name", "name"),
    Column("source", "kept in"),
    Column("id", "id"),
    Column("hint", "ends in"),
    Column("rotate", "in turn", yes_or_no),
    Column("in_use", "in use", yes_or_no),
    Column("updated_at_ms", "changed (UTC)", moment),
)
_field_option = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="For a provider with several secrets: their names, such as aws_access_key_id. Repeatable.",
)
_credential_argument = click.argument("credential", metavar="CREDENTIAL")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice credentials list
  sluice credentials add openai
  sluice credentials add openai lab --rotate < key.txt
  sluice credentials rotate openai/lab
  sluice credentials remove cred_3f2a9c1e77aa

CREDENTIAL is an id, or PROVIDER/NAME. A secret is asked for, or read from standard input; it is
never an argument, where other users of the machine see it.
""",
)
def credentials() -> None:
    """Credentials of providers: list, add, rotate and remove those kept in the database."""


@credentials.command("list", epilog="\b\nExample:\n  sluice credentials list --json\n")
@json_option
@administered
def list_(as_json: bool, deployment: Deployment) -> None:
    """List the credentials, of the configuration and of the database; no secret is shown."""
    rows = [
        {"provider": provider["name"], **held}
        for provider in deployment.ask("GET", "providers")["data"]
        for held in provider["credentials"]
    ]
    print_rows(rows, _LIST, "json" if as_json else "table")


@credentials.command(
    epilog="""\b
Examples:
  sluice credentials add openai
  sluice credentials add openai lab --rotate < key.txt
  sluice credentials add bedrock --field aws_access_key_id --field aws_secret_access_key
"""
)
@click.argument("provider")
@click.argument("name", default=DEFAULT)
@click.option("--rotate", is_flag=True, help="It serves in turn with the default one.")
@_field_option
@json_option
@administered
def add(
    provider: str,
    name: str,
    rotate: bool,
    fields: Sequence[str],
    as_json: bool,
    deployment: Deployment,
) -> None:
    """Keep a credential of PROVIDER, sealed. NAME `default` goes before the configuration's own.

    Any other NAME is one that keys and teams are bound to, or that serves in turn.
    """
    body = {"provider": provider, "name": name, "rotate": rotate, **_secret(fields)}
    _tell(deployment.ask("POST", "credentials", body=body), "is kept", as_json)


@credentials.command(
    epilog="""\b
Examples:
  sluice credentials rotate openai/default
  sluice credentials rotate cred_3f2a9c1e77aa < key.txt
"""
)
@_credential_argument
@_field_option
@json_option
@administered
def rotate(credential: str, fields: Sequence[str], as_json: bool, deployment: Deployment) -> None:
    """Replace the secret of a credential; within a second no call uses the old one."""
    found = found_credential(deployment, credential)
    changed = deployment.ask("POST", "credentials", found["id"], "rotate", body=_secret(fields))
    _tell(changed, "has a new secret", as_json)


@credentials.command(epilog="\b\nExample:\n  sluice credentials remove openai/lab\n")
@_credential_argument
@json_option
@administered
def remove(credential: str, as_json: bool, deployment: Deployment) -> None:
    """Forget a credential of the database. The configuration's own serves again, if it has one."""
    found = found_credential(deployment, credential)
    deployment.ask("DELETE", "credentials", found["id"])
    _tell(found, "is forgotten", as_json)


def _secret(fields: Sequence[str]) -> dict[str, Any]:
    """From the terminal without an echo, else a line of standard input for each."""
    if not fields:
        return {"secret": _one("Secret")}
    return {"settings": {name: _one(name) for name in fields}}


def _one(name: str) -> str:
    if sys.stdin.isatty():
        text: str = click.prompt(name, hide_input=True, err=True)
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise click.UsageError(f"{name}: standard input has no such line.")
    return text.strip()


def _tell(held: dict[str, Any], done: str, as_json: bool) -> None:
    if as_json:
        print_json(held)
    else:
        click.echo(f"Credential {held['provider']}/{held['name']} ({held['id']}) {done}.")
