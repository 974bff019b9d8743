"""`sluice admin-key`: who may operate the gateway?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from gateway.cli.commands import Commands
from gateway.cli.configuration import config_option, read
from gateway.cli.database import administering
from gateway.cli.output import json_option, print_json


@click.group("admin-key", cls=Commands, epilog="\b\nExample:\n  sluice admin-key reset\n")
def admin_key() -> None:
    """The admin key, which opens /metrics and the administration."""


@admin_key.command(
    epilog="""\b
Examples:
  sluice admin-key reset
  SLUICE_ADMIN_KEY=$(sluice admin-key reset)
"""
)
@json_option
@config_option
def reset(as_json: bool, config_path: Path) -> None:
    """Make a new admin key and print it, once; the old one opens nothing any more."""
    config = read(config_path)

    async def act() -> str:
        async with administering(config, config_path) as admin:
            return await admin.admin_key.reset()

    secret = asyncio.run(act())
    if as_json:
        print_json({"admin_key": secret})
        return
    click.echo("The new admin key. It is shown only now:", err=True)
    click.echo(secret)
