"""`sluice top`: what happens at the moment?"""

from __future__ import annotations

import os
import select
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console
from rich.live import Live

from gateway.cli.commands import Failure
from gateway.cli.deployment import Deployment, administered
from gateway.cli.output import json_option, print_json, screen
from gateway.cli.topframe import Frame, Screen, look

_WIDTH = 100


@click.command(
    epilog="""\b
Examples:
  sluice top
  sluice top --url https://gateway.example.com --every 5
  sluice top --once

q or Ctrl-C ends it. Calls count when they have ended.
"""
)
@click.option("--once", is_flag=True, help="Print one frame and end; so it is without a terminal.")
@click.option(
    "--every",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it looks.",
)
@json_option
@administered
def top(once: bool, every: float, as_json: bool, deployment: Deployment) -> None:
    """Watch calls per second, spend, latency, the cache, and errors by target."""
    frame = look(deployment, _now_ms())
    title = "a remote gateway" if deployment.remote else "this machine's database"
    if as_json:
        print_json(asdict(frame))
    elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        screen(_WIDTH).print(Screen(title).show(frame))
    else:
        _watch(deployment, Screen(title), frame, every)


def _watch(deployment: Deployment, shown: Screen, frame: Frame, every_s: float) -> None:
    """Until q. A look that fails is said, and the next one may go well."""
    note = ""
    console = Console()
    with _single_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(shown.show(frame, note), refresh=True)
                if b"q" in _pressed(every_s).lower():
                    return
                try:
                    frame, note = look(deployment, _now_ms()), ""
                except (Failure, sqlite3.Error) as error:
                    note = str(error).splitlines()[0]
        except KeyboardInterrupt:
            return


def _pressed(within_s: float) -> bytes:
    """The keys that are pressed meanwhile, if there are any."""
    ready, _, _ = select.select([sys.stdin], [], [], within_s)
    return os.read(sys.stdin.fileno(), 64) if ready else b""


@contextmanager
def _single_keys() -> Iterator[None]:
    """Keys come without a return, and are not shown."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _now_ms() -> int:
    return int(time.time() * 1000)
