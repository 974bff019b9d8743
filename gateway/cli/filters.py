"""Filters of reports: which calls are meant?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.cli.completing import complete_keys, complete_teams
from gateway.cli.times import When

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--since", type=When("past"), help="From then on: 24h, 7d, or a date in UTC."),
    click.option("--until", type=When("past"), help="Before then."),
    click.option("--key", shell_complete=complete_keys, help="Of this key: its id or its name."),
    click.option("--team", shell_complete=complete_teams, help="Of this team's keys."),
    click.option("--model", help="For this model, as it was asked for."),
)


def filter_options(command: F) -> F:
    """`--since`, `--until`, `--key`, `--team` and `--model`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def unix_ms(moment_s: float | None) -> int | None:
    return None if moment_s is None else int(moment_s * 1000)
