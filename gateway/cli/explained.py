"""An explanation for people: which lines and tables make up `sluice explain`?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.cli.output import Column, dollars, plain, print_fields, print_rows, yes_or_no

Explained = Mapping[str, Any]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _span(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} s"


def _number(value: int | None) -> str:
    return "then" if value is None else str(value)


_CALL = (
    Column("outcome", "the call would be"),
    Column("key", "key"),
    Column("team", "team"),
    Column("model", "asked for"),
    Column("route", "route"),
    Column("dropped", "messages dropped"),
    Column("cache", "cache"),
    Column("not_evaluated", "not evaluated"),
)
_LIMITS = (
    Column("of", "limit of", style="bold"),
    Column("kind", "on"),
    Column("limit", "limit", right=True),
    Column("remaining", "then left", right=True),
    Column("reset_s", "free again in", _span, right=True),
    Column("full", "refuses", yes_or_no),
)
_CANDIDATES = (
    Column("target", "target", style="bold"),
    Column("credential", "credential"),
    Column("share", "first with", _share, right=True),
    Column("state", "state"),
    Column("usable", "usable", yes_or_no),
    Column("fallback", "of alias"),
    Column("only_after", "only after"),
)
_SKIPPED = (Column("target", "passed over", style="bold"), Column("reason", "for"))
_ATTEMPTS = (
    Column("number", "attempt", _number, right=True),
    Column("target", "target", style="bold"),
    Column("credential", "credential"),
    Column("worst_case_nano_usd", "worst case", dollars, right=True),
    Column("unbounded", "may cost more, as"),
)
_BUDGETS = (
    Column("name", "budget", style="bold"),
    Column("left_nano_usd", "then left", dollars, right=True),
)


def print_explanation(explained: Explained) -> None:
    """The call, then what its path has looked at, in the path's order."""
    print_fields(_call(explained), _CALL)
    route = explained["route"] or {"candidates": (), "skipped": ()}
    limits = [{**row, "of": f"{row['scope']} {row['subject']}"} for row in explained["limits"]]
    for rows, columns in (
        (limits, _LIMITS),
        (route["candidates"], _CANDIDATES),
        (route["skipped"], _SKIPPED),
        (explained["attempts"], _ATTEMPTS),
        (explained["budgets"], _BUDGETS),
    ):
        if rows:
            print_rows(rows, columns)


def _call(explained: Explained) -> dict[str, Any]:
    key = explained["key"] or {}
    return {
        "outcome": outcome(explained["outcome"]),
        "key": f"{key.get('name')} ({key.get('id')})",
        "team": key.get("team"),
        "model": explained["model"],
        "route": _route(explained["route"]),
        "dropped": _dropped(explained["dropped"]),
        "cache": _cache(explained["cache"]),
        "not_evaluated": explained["not_evaluated"],
    }


def outcome(found: Explained) -> str:
    """The first line: how the call would end."""
    error = found.get("error")
    told = ""
    if error:
        told = f" with {found['status']} {error['code'] or error['type']}: {error['message']}"
    kind = found["kind"]
    if kind == "provider":
        return f"sent to {found['target']} with its credential {found['credential']}"
    return {
        "cache": "answered from the cache",
        "joined": "joined to the same call, which is running",
        "replayed": f"answered as an earlier call with its Idempotency-Key{told}",
        "refused": f"refused{told}",
        "policy": "answered by a policy",
    }.get(kind, plain(kind))


def _route(route: Explained | None) -> str | None:
    if route is None:
        return None
    sticky = f", sticky by {route['sticky']}" if route["sticky"] != "no" else ""
    name = f"alias {route['alias']}" if route["alias"] else "no alias"
    return f"{name}, {route['strategy']}{sticky}"


def _dropped(dropped: Explained | None) -> str | None:
    if dropped is None:
        return None
    return f"{plain(dropped['messages'])}: about {dropped['tokens']} tokens"


def _cache(cache: Explained | None) -> str | None:
    return None if cache is None else f"{cache['status']} ({plain(cache['key'])})"
