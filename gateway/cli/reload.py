"""`sluice reload`: have a running gateway read its configuration anew."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import click

from gateway.cli.check import check_configuration
from gateway.cli.commands import Failure
from gateway.cli.configuration import config_option
from gateway.cli.deployment import deployment_at
from gateway.cli.output import json_option, print_json


@click.command(
    epilog="""\b
Examples:
  sluice reload
  sluice reload --url https://gateway.example.com

Without --url the file is checked here, and the gateway's processes of this machine get a SIGHUP.
"""
)
@json_option
@click.option("--url", envvar="SLUICE_URL", metavar="URL", help="Ask the gateway at URL to do it.")
@click.option(
    "--admin-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The admin key for --url; without a file SLUICE_ADMIN_KEY has it.",
)
@config_option
def reload(as_json: bool, url: str | None, admin_key_file: Path | None, config_path: Path) -> None:
    """Read the configuration anew, where a gateway runs; one with faults changes nothing."""
    if url is None:
        _signal_all(config_path, as_json)
        return
    with deployment_at(url, admin_key_file, config_path) as deployment:
        done = deployment.ask("POST", "config", "reload")
    if as_json:
        print_json(done)
        return
    click.echo(f"Changed: {', '.join(done['changed']) or 'nothing'}.")
    if done["needs_restart"]:
        click.echo(f"Waiting for a restart: {', '.join(done['needs_restart'])}.")


def _signal_all(config_path: Path, as_json: bool) -> None:
    check_configuration(config_path)
    with deployment_at(None, None, config_path) as deployment:
        told = deployment.ask("GET", "status")
    now_ms, host = time.time() * 1000, socket.gethostname()
    pids = [
        one["pid"]
        for one in told["processes"]
        if one["lease_until_ms"] > now_ms and one["host"] == host
    ]
    signalled = [pid for pid in pids if _hang_up(pid)]
    if not signalled:
        raise Failure("no gateway runs on this machine with this database")
    if as_json:
        print_json({"signalled": signalled})
    else:
        click.echo(f"Told process {', '.join(map(str, signalled))}; the log says what changed.")


def _hang_up(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True
