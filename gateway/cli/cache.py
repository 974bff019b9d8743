"""`sluice cache`: what does the cache do, and how is it cleared?"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gateway.cache.disk import DiskStore
from gateway.cache.epochs import Scope
from gateway.cache.redis import RedisStore
from gateway.cache.tally import COUNTS
from gateway.cli.commands import Commands
from gateway.cli.configuration import config_option, read
from gateway.cli.database import Ledger, administering, reporting
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.output import Column, Format, dollars, plain, print_json, print_rows
from gateway.config import Config
from gateway.record import usd
from gateway.sharing import redis_address
from gateway.store.administration import Administration
from gateway.store.cacheadmin import GROUPS, CacheRow
from gateway.store.sqlite import database_path

_TABLE = (
    Column("hits", "hits", right=True),
    Column("coalesced", "shared", right=True),
    Column("misses", "misses", right=True),
    Column("hit_rate", "hit rate", lambda rate: "-" if rate is None else f"{rate:.1%}", right=True),
    Column("additions", "kept", right=True),
    Column("unreadable", "unreadable", right=True),
    Column("saved_tokens", "tokens saved", right=True),
    Column("saved_nano_usd", "saved", dollars, right=True),
)
_PATIENCE_S = 5.0
_NUMBERS = (*COUNTS, "saved_usd", "hit_rate")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice cache stats --by team --since 7d
  sluice cache clear --alias faq
""",
)
def cache() -> None:
    """The cache: what it does in all processes together, and clearing it."""


@cache.command()
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(list(GROUPS)),
    help="A row for each: of teams, keys, models as asked for, days, hours. Repeatable.",
)
@filter_options
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@config_option
def stats(
    by: Sequence[str],
    since: float | None,
    until: float | None,
    key: str | None,
    team: str | None,
    model: str | None,
    how: Format,
    as_json: bool,
    config_path: Path,
) -> None:
    """Sum up hits, misses and savings of the hours that begin in the period."""
    groups = tuple(dict.fromkeys(by))

    async def act() -> list[CacheRow]:
        async with reporting(read(config_path), config_path) as ledger:
            return await _asked(ledger, groups, since, until, key, team, model)

    rows = [_row(groups, row) for row in asyncio.run(act())]
    named = [Column(name, name) for name in groups]
    if how == "csv" and not as_json:
        print_rows(rows, [*named, *(Column(name, name) for name in _NUMBERS)], "csv")
    else:
        print_rows(rows, [*named, *_TABLE], "json" if as_json else how)


async def _asked(
    ledger: Ledger,
    groups: Sequence[str],
    since: float | None,
    until: float | None,
    key: str | None,
    team: str | None,
    model: str | None,
) -> list[CacheRow]:
    return await ledger.cache.stats(
        groups,
        unix_ms(since),
        unix_ms(until),
        team=team,
        key=ledger.key_id(key),
        model=model,
    )


def _row(groups: Sequence[str], row: CacheRow) -> dict[str, Any]:
    counts = {name: getattr(row, name) for name in COUNTS}
    rest = {"saved_usd": usd(row.saved_nano_usd), "hit_rate": row.hit_rate}
    return {**dict(zip(groups, row.group, strict=True)), **counts, **rest}


@cache.command()
@click.option("--team", help="Of this team's keys.")
@click.option("--key", help="Of this key, which has no team: its id or its name.")
@click.option("--namespace", help="In this namespace, as callers name it.")
@click.option("--alias", help="For this alias, or model, as it was asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def clear(
    team: str | None,
    key: str | None,
    namespace: str | None,
    alias: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Put what the cache keeps out of use, all of it or all in the scope of the options."""
    if team is not None and key is not None:
        raise click.UsageError("--team and --key exclude each other.")
    config = read(config_path)

    async def act() -> tuple[Scope, dict[str, int | None]]:
        async with administering(config, config_path) as admin:
            owner = await _owner(admin, team, key)
            scope = Scope(owner=owner, namespace=namespace or "", model=alias or "")
            await admin.cache.clear(scope)
        return scope, await delete_entries(config, config_path.parent, scope)

    scope, deleted = asyncio.run(act())
    if as_json:
        print_json({"scope": asdict(scope), "deleted": deleted})
    else:
        _tell(scope, deleted)


async def _owner(admin: Administration, team: str | None, key: str | None) -> str:
    """Whose entries are meant. Raises `click.UsageError` where there is nobody like that."""
    if team is not None:
        if team not in await admin.keys.team_bindings():
            raise click.UsageError(f"There is no team {team!r}.")
        return f"team:{team}"
    if key is None:
        return ""
    known = [one for one in await admin.keys.list() if key in (one.id, one.name)]
    if len(known) != 1:
        raise click.UsageError(f"{key!r} is {'several keys' if known else 'no key'}.")
    (found,) = known
    if found.team is not None:
        raise click.UsageError(
            f"Key {found.id} shares its entries with its team: --team {found.team}."
        )
    return f"key:{found.id}"


async def delete_entries(config: Config, base_dir: Path, scope: Scope) -> dict[str, int | None]:
    """Delete entries where they lie; how many. None: Redis was not to be had."""
    deleted: dict[str, int | None] = {}
    path = database_path(config.database.url, base_dir).parent / "cache.db"
    if path.exists():
        disk = await DiskStore.open(path, config.cache.max_disk_bytes, time.time)
        deleted["disk"] = await disk.drop(scope)
        await disk.close()
    address = redis_address(config, os.environ, base_dir) if config.cache.store == "redis" else None
    if address is not None:
        from gateway.store.redis import Redis

        redis = Redis(address, prefix=config.redis.prefix, timeout_s=_PATIENCE_S)
        deleted["redis"] = await RedisStore(redis, time.time).drop(scope)
        await redis.aclose()
    return deleted


def _tell(scope: Scope, deleted: Mapping[str, int | None]) -> None:
    named = ", ".join(f"{name} {plain(text)}" for name, text in asdict(scope).items() if text)
    click.echo(f"Cleared the cache{f' ({named})' if named else ''} in all processes.")
    for place, number in deleted.items():
        if number is None:
            click.echo(
                f"{place} could not be reached: what lies there is out of use, and expires.",
                err=True,
            )
        else:
            click.echo(f"Deleted {number} entries: {place}.")
