"""`sluice calls`: which calls were there, and what happened in one?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from gateway.cli.commands import Commands, Failure
from gateway.cli.configuration import config_option, read
from gateway.cli.database import reporting
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.output import (
    Column,
    Format,
    dollars,
    plain,
    print_fields,
    print_json,
    print_rows,
    seconds,
    yes_or_no,
)
from gateway.cli.times import moment
from gateway.ledger import CallRecord
from gateway.store.reports import Attempt, CallDetail, CallPage, CallRow, Filter

_LIST = (
    Column("received_at_ms", "time (UTC)", moment),
    Column("call_id", "call", style="bold"),
    Column("key_name", "key"),
    Column("asked_model", "model"),
    Column("target", "served by"),
    Column("status", "status", right=True),
    Column("error", "error"),
    Column("attempts", "attempts", right=True),
    Column("prompt_tokens", "prompt", right=True),
    Column("completion_tokens", "completion", right=True),
    Column("cost_nano_usd", "cost", dollars, right=True),
    Column("duration_ms", "took", seconds, right=True),
)
_SUMS = ("prompt_tokens", "completion_tokens", "cost_nano_usd")
_NAMES = (*(f.name for f in fields(CallRecord) if f.name != "facts"), "key_name", *_SUMS)
_CALL = (
    Column("call_id", "call"),
    Column("received_at_ms", "received (UTC)", moment),
    Column("key_name", "key"),
    Column("key_id", "key id"),
    Column("team", "team"),
    Column("tags", "tags"),
    Column("asked_model", "asked for"),
    Column("alias", "alias"),
    Column("target", "served by"),
    Column("stream", "streamed", yes_or_no),
    Column("status", "status"),
    Column("error", "error"),
    Column("first_event_ms", "first answer", seconds),
    Column("duration_ms", "took", seconds),
    Column("overhead_ms", "of it ours (ms)"),
)
_ATTEMPTS = (
    Column("number", "attempt", right=True),
    Column("target", "target"),
    Column("credential", "credential"),
    Column("state", "state"),
    Column("error", "error"),
    Column("prompt_tokens", "prompt", right=True),
    Column("completion_tokens", "completion", right=True),
    Column("source", "counted by"),
    Column("cost_nano_usd", "cost", dollars, right=True),
    Column("first_event_ms", "first answer", seconds, right=True),
    Column("duration_ms", "took", seconds, right=True),
)
_TRACE = (
    Column("at_s", "at (s)", right=True),
    Column("fact", "what"),
    Column("rest", "details"),
)


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice calls
  sluice calls --key laptop --since 1h --error timeout
  sluice calls --limit 500 --format csv
  sluice calls show CALL
""",
)
@filter_options
@click.option("--status", type=click.IntRange(100, 599), help="With this HTTP status.")
@click.option("--error", help="With an error of this kind, such as rate_limit.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--after", help="Go on after a list's end: the `next` of its JSON.")
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@config_option
@click.pass_context
def calls(ctx: click.Context, /, how: Format, as_json: bool, **asked: Any) -> None:
    """List the latest calls; `calls show CALL` has one with its attempts and its trace."""
    if ctx.invoked_subcommand is not None:
        return
    page, keys = asyncio.run(_page(**asked))
    rows = [_row(row, keys) for row in page.rows]
    if as_json or how == "json":
        print_json({"calls": rows, "next": page.next})
    elif how == "csv":
        print_rows(rows, [Column(name, name) for name in _NAMES], "csv")
    else:
        print_rows(rows, _LIST)


async def _page(
    config_path: Path,
    key: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    after: str | None,
    **given: Any,
) -> tuple[CallPage, Mapping[str, str]]:
    async with reporting(read(config_path), config_path) as ledger:
        where = Filter(
            key=ledger.key_id(key), since_ms=unix_ms(since), until_ms=unix_ms(until), **given
        )
        try:
            return await ledger.reports.calls(where, limit, after), ledger.keys
        except ValueError as error:
            raise click.UsageError(f"--after: {error}.") from None


@calls.command()
@click.argument("call")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def show(call: str, as_json: bool, config_path: Path) -> None:
    """Show one call, its attempts at providers, and what the path learned on its way.

    CALL is the id in the answer's x-request-id.
    """

    async def act() -> tuple[CallDetail | None, Mapping[str, str]]:
        async with reporting(read(config_path), config_path) as ledger:
            return await ledger.reports.call(call), ledger.keys

    detail, keys = asyncio.run(act())
    if detail is None:
        raise Failure(f"the ledger has no call {call!r}")
    attempts = [_attempt(attempt) for attempt in detail.attempts]
    record = _record(detail.record, keys) if detail.record else None
    facts = json.loads(detail.record.facts) if detail.record else []
    if as_json:
        print_json({"call": record, "attempts": attempts, "trace": facts})
        return
    if record is None:
        click.echo(f"Call {call} has not ended, or its row was lost; its attempts:")
    else:
        print_fields(record, _CALL)
    if attempts:
        print_rows(attempts, _ATTEMPTS)
    if facts:
        print_rows([_fact(fact) for fact in facts], _TRACE)


def _record(record: CallRecord, keys: Mapping[str, str]) -> dict[str, Any]:
    values = asdict(record)
    del values["facts"]
    return values | {"key_name": keys.get(record.key_id)}


def _row(row: CallRow, keys: Mapping[str, str]) -> dict[str, Any]:
    return _record(row.record, keys) | {name: getattr(row, name) for name in _SUMS}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    values = asdict(attempt)
    counts = values.pop("usage") or {}
    price = values.pop("price")
    shown = {name: counts.get(name) for name in ("prompt_tokens", "completion_tokens", "source")}
    return values | shown | {"usage": counts or None, "price": json.loads(price) if price else None}


def _fact(fact: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in fact.items() if name not in ("fact", "at_s")}
    known = {name: value for name, value in rest.items() if value is not None}
    return {"at_s": fact.get("at_s"), "fact": fact.get("fact"), "rest": plain(known)}
