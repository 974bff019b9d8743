"""`sluice encryption-key`: what if the key to what is sealed is lost?"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from gateway.cli.commands import Commands
from gateway.cli.configuration import config_option, read
from gateway.cli.output import json_option, print_json
from gateway.store.faults import StoreFault
from gateway.store.masterkey import forget as forget_key
from gateway.store.migrate import require_head
from gateway.store.sqlite import connect, database_path


@click.group(
    "encryption-key", cls=Commands, epilog="\b\nExample:\n  sluice encryption-key forget --yes\n"
)
def encryption_key() -> None:
    """The master key, which opens what the database keeps sealed."""


@encryption_key.command(
    epilog="""\b
Example:
  sluice encryption-key forget --yes
"""
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@config_option
def forget(yes: bool, as_json: bool, config_path: Path) -> None:
    """Delete all that is sealed, for a master key that is lost; the next start takes another.

    Gone are the stored credentials of providers, answers under idempotency keys, and encrypted
    entries of the cache.
    """
    path = database_path(read(config_path).database.url, config_path.parent)
    if not path.exists():
        raise StoreFault(f"there is no database at {path}")
    if not yes:
        click.confirm("Delete all that is sealed in this database?", abort=True, err=True)
    with closing(connect(path, "full")) as db:
        require_head(db)
        forget_key(db)
    if as_json:
        print_json({"forgotten": True})
    else:
        click.echo("What was sealed is deleted. Start the gateway with the key that is to be used.")
