"""`sluice doctor`: is everything well, and if not, what is to be done?"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from gateway.catalog import Catalog
from gateway.cli import doctor_setup, doctor_stores
from gateway.cli.configuration import config_option
from gateway.cli.doctor_calls import real_calls, running
from gateway.cli.output import json_option, plain, print_json, screen
from gateway.cli.remote import base_url
from gateway.cli.verdict import State, Verdict
from gateway.config import Config
from gateway.managed import Managed
from gateway.providers import provider_states
from gateway.sealing import Sealer
from gateway.store.faults import StoreFault
from gateway.store.managed import ManagedReader
from gateway.store.masterkey import known_sealer
from gateway.store.sqlite import database_path, reading

_SHOWN: dict[State, tuple[str, str]] = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "bold red"),
    "skip": ("-   ", "dim"),
}


@click.command(
    epilog="""\b
Examples:
  sluice doctor
  sluice doctor --call
  sluice doctor --call --provider openai --json

Nothing is changed, and nothing is sent to a provider without --call. The exit status is 1 if a
check fails; warnings are none.
"""
)
@click.option("--call", is_flag=True, help="Make a real call of one token to each provider.")
@click.option(
    "--provider", "named", multiple=True, metavar="NAME", help="Of --call: only this. Repeatable."
)
@click.option("--url", envvar="SLUICE_URL", metavar="URL", help="The gateway that is to be ready.")
@json_option
@config_option
@click.pass_context
def doctor(
    ctx: click.Context,
    call: bool,
    named: Sequence[str],
    url: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Check the installation, one thing after the other, and say what to do."""
    if named and not call:
        raise click.UsageError("--provider goes with --call.")
    address = None if url is None else base_url(url)
    verdicts = _examined(config_path, address, named if call else None)
    found: list[Verdict] = []
    console = screen()
    for verdict in verdicts:
        found.append(verdict)
        if not as_json:
            _print(console, verdict)
    bad = sum(verdict.state == "fail" for verdict in found)
    doubtful = sum(verdict.state == "warn" for verdict in found)
    if as_json:
        print_json({"well": not bad, "checks": [asdict(verdict) for verdict in found]})
    else:
        click.echo(f"{bad or 'No'} faults, {doubtful or 'no'} warnings.")
    ctx.exit(1 if bad else 0)


def _examined(
    config_path: Path, url: str | None, called: Sequence[str] | None
) -> Iterator[Verdict]:
    """`called`: the providers that are to be called, all of them if it is empty; None: none."""
    clock = doctor_stores.Clock()
    base_dir = config_path.parent
    yield from doctor_setup.program()
    config, verdicts = doctor_setup.configuration(config_path)
    yield from verdicts
    if config is None:
        return
    managed = _managed(config, base_dir)
    yield from chain(
        doctor_setup.policies(config, base_dir),
        doctor_setup.providers(config, base_dir, managed),
        doctor_setup.secret_files(config, base_dir),
        doctor_stores.database(config, base_dir),
        doctor_stores.redis_server(config, base_dir),
        running(config_path, url),
    )
    if called is not None:
        states = provider_states(config, os.environ, base_dir, managed)
        yield from real_calls(states, config, Catalog.load(config.model_info), called)
    yield clock.verdict()


def _managed(config: Config, base_dir: Path) -> Managed:
    """Stored credentials; none where the database or its key is not to be had."""
    path = database_path(config.database.url, base_dir)
    if not path.exists():
        return Managed()
    try:
        with closing(sqlite3.connect(path)) as db:
            sealer = known_sealer(db, path.parent, config.encryption, base_dir)
        return Managed() if sealer is None else asyncio.run(_read(path, sealer))
    except (StoreFault, sqlite3.Error):
        return Managed()  # the check of the database says so


async def _read(path: Path, sealer: Sealer) -> Managed:
    reader = ManagedReader(sealer)
    async with reading(path) as db:
        await reader.read(db)
    return reader.managed


def _print(console: Console, verdict: Verdict) -> None:
    mark, style = _SHOWN[verdict.state]
    line = Text.assemble((mark, style), f"  {plain(verdict.check)}: {plain(verdict.found)}")
    console.print(line)
    if verdict.advice:
        console.print(Text(f"      {plain(verdict.advice)}", "dim"))
    sys.stdout.flush()
