"""`sluice serve`: start the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gateway.cli.configuration import config_option, named_after, read
from gateway.cli.hooks import Hooks


@click.command(
    epilog="""\b
Examples:
  sluice serve
  sluice serve --config /etc/sluice/config.toml --host 0.0.0.0
  OPENAI_API_KEY=sk-... sluice serve --port 9000
"""
)
@config_option
@click.option("--host", help="Where to listen; 0.0.0.0 opens the gateway to the network.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any free port.")
@click.option("--workers", type=click.IntRange(min=1), help="The number of processes.")
@click.option("--log", type=click.Choice(["json", "off"]), help="The log of calls.")
@click.option("--listen-fd", "listen_fds", type=int, multiple=True, hidden=True)
@click.pass_obj
def serve(hooks: Hooks, /, config_path: Path, listen_fds: Sequence[int], **given: Any) -> None:
    """Start the gateway. An option wins over the configuration file's [server] table."""
    config = read(config_path)
    overrides = {name: value for name, value in given.items() if value is not None}
    server = replace(config.server, **overrides)
    with named_after(config_path):
        hooks.run_server(replace(config, server=server), config_path, listen_fds)
