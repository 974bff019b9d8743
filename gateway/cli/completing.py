"""Completion: which keys and teams could a half-typed word mean?

Asked of the database of this machine only, and only if it is there: a shell waits for the answer.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import click
from click.shell_completion import CompletionItem

from gateway.cli.configuration import default_path, read
from gateway.config import ConfigError
from gateway.store.faults import StoreFault
from gateway.store.sqlite import database_path

_KEYS = "SELECT id, name FROM keys WHERE revoked_at_ms IS NULL ORDER BY created_at_ms DESC"
_TEAMS = "SELECT name, '' FROM teams WHERE deleted_at_ms IS NULL ORDER BY name"
_MOST = 200


def complete_keys(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids, with their names beside; names that begin so as well."""
    found: list[CompletionItem] = []
    for key_id, name in _rows(ctx, _KEYS):
        if name.startswith(incomplete):
            found.append(CompletionItem(name, help=key_id))
        elif key_id.startswith(incomplete):
            found.append(CompletionItem(key_id, help=name))
    return found


def complete_teams(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name, _ in _rows(ctx, _TEAMS) if name.startswith(incomplete)]


def _rows(ctx: click.Context, query: str) -> list[tuple[str, str]]:
    """Nothing where anything is amiss: a completion has nowhere to say so."""
    path = ctx.params.get("config_path") or default_path()
    try:
        file = database_path(read(path).database.url, path.parent)
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchmany(_MOST)
    except (ConfigError, StoreFault, OSError, ValueError, sqlite3.Error):
        return []
