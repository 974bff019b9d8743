"""`sluice calls`: which calls were there, and what happened in one?"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from gateway.cli.commands import Commands
from gateway.cli.deployment import Deployment, administered
from gateway.cli.filters import filter_options, unix_ms
from gateway.cli.objects import key_id
from gateway.cli.output import (
    Column,
    Format,
    dollars,
    json_option,
    plain,
    print_fields,
    print_json,
    print_rows,
    seconds,
    yes_or_no,
)
from gateway.cli.times import moment
from gateway.ledger import CallRecord

_LIST = (
    Column("received_at_ms", "time (UTC)", moment),
    Column("call_id", "call", style="bold"),
    Column("key_name", "key"),
    Column("asked_model", "model"),
    Column("served_by", "served by"),
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
_PAGE = 1000
_FROM_CACHE = ("hit", "coalesced")
_TRACE = (
    Column("at_ms", "at (ms)", right=True),
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
@administered
@click.pass_context
def calls(
    ctx: click.Context,
    /,
    since: float | None,
    until: float | None,
    key: str | None,
    limit: int,
    after: str | None,
    how: Format,
    as_json: bool,
    deployment: Deployment,
    **where: Any,
) -> None:
    """List the latest calls; `calls show CALL` has one with its attempts and its trace."""
    if ctx.invoked_subcommand is not None:
        return
    where |= {
        "since": unix_ms(since),
        "until": unix_ms(until),
        "key": key_id(deployment, key),
    }
    rows, following = _latest(deployment, limit, after, where)
    if as_json or how == "json":
        print_json({"calls": rows, "next": following})
    elif how == "csv":
        print_rows(rows, [Column(name, name) for name in _NAMES], "csv")
    else:
        print_rows([row | {"served_by": _served_by(row)} for row in rows], _LIST)


def _served_by(row: dict[str, Any]) -> str | None:
    kept = row["cache"] in _FROM_CACHE
    return "the cache" if kept and row["target"] is None else row["target"]


def _latest(
    deployment: Deployment, limit: int, after: str | None, where: dict[str, Any]
) -> tuple[list[dict[str, Any]], str | None]:
    """Page by page; one that found few among many calls comes short, and goes on."""
    rows: list[dict[str, Any]] = []
    while True:
        most = min(limit - len(rows), _PAGE)
        page = deployment.ask("GET", "calls", limit=most, after=after, **where)
        rows += page["data"]
        after = page["next"]
        if after is None or len(rows) >= limit:
            return rows, after


@calls.command(
    epilog="""\b
Examples:
  sluice calls show 0190f3c2a6b87c1e
  sluice calls show 0190f3c2a6b87c1e --json
"""
)
@click.argument("call")
@json_option
@administered
def show(call: str, as_json: bool, deployment: Deployment) -> None:
    """Show one call, its attempts at providers, and what the path learned on its way.

    CALL is the id in the answer's x-request-id.
    """
    detail = deployment.ask("GET", "calls", call)
    attempts = [_attempt(attempt) for attempt in detail["attempts"]]
    record, facts = detail["call"], detail["trace"]
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


def _attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    counts = attempt["usage"] or {}
    shown = {name: counts.get(name) for name in ("prompt_tokens", "completion_tokens", "source")}
    return attempt | shown


def _fact(fact: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in fact.items() if name not in ("fact", "at_us")}
    at_us = fact.get("at_us")
    known = {name: value for name, value in rest.items() if value is not None}
    at_ms = None if at_us is None else f"{at_us / 1000:.1f}"
    return {"at_ms": at_ms, "fact": fact.get("fact"), "rest": plain(known)}
