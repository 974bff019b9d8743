"""`sluice recost`: what would past calls have cost under other prices?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.cli.configuration import config_option, read
from gateway.cli.database import ledger_path
from gateway.cli.exporting import whole_period
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.output import Column, Format, dollars, print_json, print_rows
from gateway.cli.pricefiles import PriceFile
from gateway.cli.progress import progress
from gateway.cli.repricing import OtherPrices
from gateway.cli.times import When
from gateway.config import Config
from gateway.managed import Managed
from gateway.record import usd
from gateway.store import exports
from gateway.store.filters import Filter
from gateway.store.keytable import select_keys
from gateway.store.prices import select_prices
from gateway.store.recost import PastCharge, Recosted, recosted
from gateway.store.sqlite import reading

_GROUPS: Mapping[str, Callable[[PastCharge], str | None]] = {
    "target": lambda charge: f"{charge.provider}/{charge.model}",
    "provider": lambda charge: charge.provider,
    "model": lambda charge: charge.asked_model,
    "key": lambda charge: charge.key_id,
    "team": lambda charge: charge.team,
    "day": lambda charge: (
        datetime.fromtimestamp(charge.opened_at_ms / 1000, UTC).date().isoformat()
    ),
}
_SUMS = ("attempts", "was_nano_usd", "would_be_nano_usd", "kept", "unpriced")
_TABLE = (
    Column("attempts", "attempts", right=True),
    Column("was_nano_usd", "cost", dollars, right=True),
    Column("would_be_nano_usd", "would be", dollars, right=True),
    Column("difference_nano_usd", "difference", dollars, right=True),
    Column("change", "change", lambda n: "-" if n is None else f"{n:+.1%}", right=True),
    Column("kept", "not priced anew", right=True),
)


@dataclass(slots=True)
class Sum:
    """Of one group. `kept`: the other prices do not know the model, and the old cost stands in;
    `unpriced`: neither do the old ones.
    """

    attempts: int = 0
    was_nano_usd: int = 0
    would_be_nano_usd: int = 0
    kept: int = 0
    unpriced: int = 0

    def add(self, one: Recosted) -> None:
        was, would_be = one.charge.cost_nano_usd, one.cost_nano_usd
        self.attempts += 1
        self.was_nano_usd += was or 0
        self.would_be_nano_usd += (was or 0) if would_be is None else would_be
        self.kept += would_be is None
        self.unpriced += would_be is None and was is None


@click.command(
    epilog="""\b
Examples:
  sluice recost --as-of 2027-01-01 --since 30d
  sluice recost --prices model_prices_and_context_window.json --since 2026-11-01 --by team
  sluice recost --prices offer.toml --by target --by day --format csv

Nothing is changed. What another provider would charge for the same tokens is said by a file that
prices the model of this one so. Attempts that used nothing, are open or were lost are left out.
"""
)
@click.option(
    "--as-of",
    type=When("past"),
    metavar="WHEN",
    help="The prices in force then, by the configuration and the dated prices; may lie ahead.",
)
@click.option(
    "--prices",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The prices of a file, as sluice prices update takes it.",
)
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(list(_GROUPS)),
    help="A row for each. Repeatable; default: target.",
)
@filter_options
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@config_option
def recost(
    as_of: float | None,
    file: Path | None,
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
    """Show what past calls would have cost under the prices of another day, or of a file."""
    if (as_of is None) == (file is None):
        raise click.UsageError("Give either --as-of or --prices.")
    groups = tuple(dict.fromkeys(by)) or ("target",)
    asked = _Asked(
        by=groups,
        file=None if file is None else PriceFile.load(file),
        at_ms=unix_ms(as_of),
        where=Filter(since_ms=unix_ms(since), until_ms=unix_ms(until), team=team, model=model),
        key=key,
    )
    config = read(config_path)
    path = ledger_path(config, config_path)
    sums = asyncio.run(_recost(path, config, config_path.parent, asked))
    _print(groups, sums, "json" if as_json else how)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    by: Sequence[str]
    file: PriceFile | None
    at_ms: int | None
    where: Filter
    key: str | None


async def _recost(
    path: Path, config: Config, base_dir: Path, asked: _Asked
) -> dict[tuple[str | None, ...], Sum]:
    sums: dict[tuple[str | None, ...], Sum] = {}
    async with reading(path) as db:
        managed = Managed(prices=tuple([kept.price for kept in await select_prices(db)]))
        if asked.file is not None:
            prices = OtherPrices.of_file(asked.file, config, base_dir)
        else:
            prices = OtherPrices.as_of(managed, asked.at_ms or 0, config, base_dir)
        names = {key.id: key.name for key in await select_keys(db)}
        where = asked.where if asked.key is None else _of_key(asked.where, asked.key, names)
        period = await whole_period(db, where.since_ms, where.until_ms, int(time.time() * 1000))
        total = await exports.count(db, exports.CHARGES, period.since_ms, period.until_ms)
        with progress("Costing", total) as advance:
            async for batch in recosted(db, prices, where):
                for one in batch:
                    group = tuple(_GROUPS[name](one.charge) for name in asked.by)
                    sums.setdefault(group, Sum()).add(one)
                advance(len(batch))
    return sums


def _of_key(where: Filter, wanted: str, names: Mapping[str, str]) -> Filter:
    ids = [wanted] if wanted in names else [key for key, name in names.items() if name == wanted]
    if len(ids) != 1:
        raise click.UsageError(f"{wanted!r} is no key's id, nor the name of a single key.")
    return Filter(
        since_ms=where.since_ms,
        until_ms=where.until_ms,
        team=where.team,
        model=where.model,
        key=ids[0],
    )


def _print(by: Sequence[str], sums: Mapping[tuple[str | None, ...], Sum], how: Format) -> None:
    total = Sum()
    for one in sums.values():
        for name in _SUMS:
            setattr(total, name, getattr(total, name) + getattr(one, name))
    ranked = sorted(sums.items(), key=lambda item: (-item[1].was_nano_usd, str(item[0])))
    rows = [dict(zip(by, group, strict=True)) | _row(one) for group, one in ranked]
    if how == "json":
        print_json({"by": list(by), "rows": rows, "total": _row(total)})
        return
    named = [Column(name, name) for name in by]
    if how == "csv":
        numbers = [*_SUMS, "difference_nano_usd", "was_usd", "would_be_usd"]
        print_rows(rows, [*named, *(Column(name, name) for name in numbers)], "csv")
        return
    last = dict.fromkeys(by) | {by[0]: "total"} | _row(total)
    print_rows(rows + ([last] if len(rows) > 1 else []), [*named, *_TABLE])
    if total.kept:
        known = f"{total.kept} attempts are of models that those prices do not know"
        click.echo(f"{known}: they stand at their old cost.", err=True)


def _row(one: Sum) -> dict[str, Any]:
    difference = one.would_be_nano_usd - one.was_nano_usd
    return {name: getattr(one, name) for name in _SUMS} | {
        "difference_nano_usd": difference,
        "change": difference / one.was_nano_usd if one.was_nano_usd else None,
        "was_usd": usd(one.was_nano_usd),
        "would_be_usd": usd(one.would_be_nano_usd),
    }
