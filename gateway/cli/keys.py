"""`sluice keys`: who may call, with which models, until when?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gateway.cli.bindings import parsed
from gateway.cli.commands import Commands, Failure
from gateway.cli.configuration import config_option, read
from gateway.cli.database import administering
from gateway.cli.output import Column, print_fields, print_json, print_rows
from gateway.cli.settings import assignments, listed, parsed_settings
from gateway.cli.times import When, moment, seconds
from gateway.store.keyadmin import KeyAdmin
from gateway.store.keytable import KeyDraft, NewKey, StoredKey

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
    Column("rotated_from", "in place of"),
)

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_key_argument = click.argument("key", metavar="KEY")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice keys create laptop --team research --model 'gpt-*' --expires 90d
  sluice keys list
  sluice keys rotate laptop --grace 24h
  sluice keys revoke 3f2a9c1e

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
  sluice keys create lab --bind openai=research
  OPENAI_API_KEY=$(sluice keys create script)
"""
)
@click.argument("name")
@click.option("--team", help="The team it belongs to; a new name makes a new team.")
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
@_json_option
@config_option
def create(
    name: str,
    team: str | None,
    models: Sequence[str],
    expires: float | None,
    tags: Sequence[str],
    bindings: Sequence[str],
    settings: Sequence[str],
    as_json: bool,
    config_path: Path,
) -> None:
    """Create the key NAME and print its secret, once.

    The secret alone goes to standard output; the rest is said on standard error.
    """
    if not name.strip() or not name.isprintable():
        raise click.UsageError("A key needs a printable name.")
    if expires is not None and expires <= time.time():
        raise click.UsageError("--expires lies in the past.")
    config = read(config_path)
    draft = KeyDraft(
        name=name,
        team=team,
        models=models or ("*",),
        tags=tags,
        credentials=parsed(bindings, config),
        settings=parsed_settings(settings),
        expires_at_ms=None if expires is None else int(expires * 1000),
    )

    async def act() -> tuple[NewKey, StoredKey]:
        async with administering(config, config_path) as admin:
            new = await admin.keys.create(draft)
            return new, await admin.keys.show(new.id)

    _print_new(*asyncio.run(act()), as_json)


@keys.command("list")
@click.option("--all", "everything", is_flag=True, help="Revoked and expired keys as well.")
@_json_option
@config_option
def list_(everything: bool, as_json: bool, config_path: Path) -> None:
    """List the keys that work, newest first."""

    async def act() -> list[StoredKey]:
        async with administering(read(config_path), config_path) as admin:
            return await admin.keys.list()

    rows = [_row(key) for key in asyncio.run(act())]
    shown = [row for row in rows if everything or row["state"] == "active"]
    print_rows(shown, _LIST, "json" if as_json else "table")


@keys.command()
@_key_argument
@_json_option
@config_option
def show(key: str, as_json: bool, config_path: Path) -> None:
    """Show one key."""

    async def act() -> StoredKey:
        async with administering(read(config_path), config_path) as admin:
            return await _found(admin.keys, key)

    row = _row(asyncio.run(act()))
    if as_json:
        print_json(row)
    else:
        print_fields(row, _SHOW)


@keys.command("set")
@_key_argument
@assignments
@_json_option
@config_option
def set_(key: str, settings: Sequence[str], as_json: bool, config_path: Path) -> None:
    """Change settings of a key; NAME= alone removes one, and its team's holds again."""
    changes = parsed_settings(settings)

    async def act() -> StoredKey:
        async with administering(read(config_path), config_path) as admin:
            found = await _found(admin.keys, key)
            return await admin.keys.set_key(found.id, changes)

    changed = asyncio.run(act())
    if as_json:
        print_json(_row(changed))
    else:
        click.echo(f"Key {changed.id} ({changed.name}) has {listed(changed.settings)}.")


@keys.command()
@_key_argument
@_json_option
@config_option
def revoke(key: str, as_json: bool, config_path: Path) -> None:
    """End a key for good, within a second in every process."""

    async def act() -> StoredKey:
        async with administering(read(config_path), config_path) as admin:
            found = await _found(admin.keys, key)
            await admin.keys.revoke(found.id)
            return await admin.keys.show(found.id)

    revoked = asyncio.run(act())
    if as_json:
        print_json(_row(revoked))
    else:
        click.echo(f"Key {revoked.id} ({revoked.name}) is revoked.")


@keys.command()
@_key_argument
@click.option("--grace", metavar="SPAN", help="How long the old key still works: 24h, 7d.")
@_json_option
@config_option
def rotate(key: str, grace: str | None, as_json: bool, config_path: Path) -> None:
    """Replace a key by a new one with the same rights, and print the new secret, once."""
    grace_s = seconds(grace) if grace else 0

    async def act() -> tuple[NewKey, StoredKey]:
        async with administering(read(config_path), config_path) as admin:
            old = await _found(admin.keys, key)
            new = await admin.keys.rotate(old.id, grace_s)
            return new, await admin.keys.show(new.id)

    _print_new(*asyncio.run(act()), as_json)


async def _found(admin: KeyAdmin, wanted: str) -> StoredKey:
    """The key with this id, or the only working key with this name."""
    stored = await admin.list()
    by_id = [key for key in stored if key.id == wanted]
    named = [key for key in stored if key.name == wanted and _state(key) == "active"]
    if len(named) > 1 and not by_id:
        ids = ", ".join(key.id for key in named)
        raise Failure(f"{len(named)} keys are called {wanted!r}; use an id: {ids}")
    if not by_id and not named:
        raise Failure(f"no key has the id or the name {wanted!r}; see sluice keys list --all")
    return (by_id or named)[0]


def _state(key: StoredKey) -> str:
    if key.revoked_at_ms is not None:
        return "revoked"
    expired = key.expires_at_ms is not None and key.expires_at_ms <= time.time() * 1000
    return "expired" if expired else "active"


def _row(key: StoredKey) -> dict[str, Any]:
    return asdict(key) | {"state": _state(key)}


def _print_new(new: NewKey, stored: StoredKey, as_json: bool) -> None:
    if as_json:
        print_json(_row(stored) | {"key": new.secret})
        return
    click.echo(f"Key {stored.id} ({stored.name}). It is shown only now:", err=True)
    click.echo(new.secret)
