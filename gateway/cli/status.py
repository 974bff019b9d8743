"""`sluice status`: which processes are there, and can they work?"""

from __future__ import annotations

import time
from typing import Any

import click

from gateway.cli.deployment import Deployment, administered
from gateway.cli.output import Column, json_option, plain, print_fields, print_json, print_rows
from gateway.cli.times import moment

_PROCESSES = (
    Column("id", "process", style="bold"),
    Column("host", "host"),
    Column("pid", "pid", right=True),
    Column("started_at_ms", "started (UTC)", moment),
    Column("state", "state"),
)
_STATUS = (
    Column("version", "version"),
    Column("database", "database"),
    Column("redis", "Redis"),
    Column("workers", "workers"),
)
_ANSWERED = (
    Column("process", "answered by"),
    Column("uptime_s", "up for (s)"),
    Column("in_flight", "calls running"),
    Column("draining", "draining"),
)


@click.command(
    epilog="""\b
Examples:
  sluice status
  sluice status --url https://gateway.example.com --json

Without --url it says what the database knows; Redis and calls are known to a running gateway only.
"""
)
@json_option
@administered
def status(as_json: bool, deployment: Deployment) -> None:
    """Show the processes of the deployment, its database and Redis."""
    told = deployment.ask("GET", "status")
    if not deployment.remote:
        # Nobody is asked that would know them.
        told |= dict.fromkeys(("process", "uptime_s", "draining", "in_flight", "redis"))
    if as_json:
        print_json(told)
        return
    print_fields(told | _words(told), (*_STATUS, *(_ANSWERED if deployment.remote else ())))
    now_ms = time.time() * 1000
    rows = [
        {**one, "state": "alive" if one["lease_until_ms"] > now_ms else "gone"}
        for one in told["processes"]
    ]
    if rows:
        print_rows(rows, _PROCESSES)
    else:
        click.echo("No process is running.")


def _words(told: dict[str, Any]) -> dict[str, str]:
    database, redis = told["database"], told["redis"]
    size = f"{database['size_bytes'] / 1_000_000:.1f} MB"
    found = {"database": f"{'ok' if database['ok'] else 'cannot be written'}, {size}"}
    if redis is None:
        return found | {"redis": plain(None)}
    away = "available" if redis["available"] else "not available"
    return found | {"redis": away if redis["configured"] else "not configured"}
