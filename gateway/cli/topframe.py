"""A frame of `sluice top`: what happens now, and how is it shown?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.cli.deployment import Deployment
from gateway.cli.output import dollars, plain

WINDOW_S = 60
_HOUR_MS, _QUARTER_MS, _DAY_MS = 3_600_000, 900_000, 86_400_000
_HISTORY = 60
_ROWS = 8
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Calls of the last minute, money of the last hour and of today (UTC)."""

    at_ms: int
    calls_per_s: float
    calls: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    first_event_p50_ms: float | None
    cache_hit_rate: float | None
    hour_nano_usd: int
    today_nano_usd: int
    targets: Sequence[Mapping[str, Any]]
    keys: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]


def look(deployment: Deployment, now_ms: int) -> Frame:
    """The frame of this moment."""
    minute = deployment.ask("GET", "overview", since=now_ms - WINDOW_S * 1000, until=now_ms)
    keys = _usage(deployment, "key", now_ms - _HOUR_MS, now_ms)
    targets = _usage(deployment, "target", now_ms - _QUARTER_MS, now_ms)
    today_ms = now_ms // _DAY_MS * _DAY_MS
    (today,) = deployment.ask("GET", "usage", since=today_ms)["data"]
    totals = minute["totals"]
    lookups = totals["cache_lookups"]
    return Frame(
        at_ms=now_ms,
        calls_per_s=totals["calls"] / WINDOW_S,
        calls=totals["calls"],
        errors=totals["errors"],
        p50_ms=totals["duration_ms"]["p50"],
        p95_ms=totals["duration_ms"]["p95"],
        first_event_p50_ms=totals["first_event_ms"]["p50"],
        cache_hit_rate=totals["cache_hits"] / lookups if lookups else None,
        hour_nano_usd=sum(row["cost_nano_usd"] for row in keys),
        today_nano_usd=today["cost_nano_usd"],
        targets=[_target(row) for row in targets],
        keys=[_key(row) for row in keys],
        failures=minute["errors"],
    )


def _usage(deployment: Deployment, by: str, since_ms: int, until_ms: int) -> list[Any]:
    rows = deployment.ask("GET", "usage", by=by, since=since_ms, until=until_ms)["data"]
    return sorted(rows, key=lambda row: (-row["cost_nano_usd"], -row["attempts"]))


def _target(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "target": row["group"]["target"],
        **{name: row[name] for name in ("attempts", "errors", "cost_nano_usd")},
    }


def _key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": row["group"]["key"],
        "name": row["group"]["key_name"],
        **{name: row[name] for name in ("calls", "cost_nano_usd")},
    }


@dataclass(slots=True)
class Screen:
    """Frames as they are shown, with the calls per second of the last ones."""

    title: str
    history: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def show(self, frame: Frame, note: str = "") -> RenderableType:
        self.history.append(frame.calls_per_s)
        at = datetime.fromtimestamp(frame.at_ms / 1000, UTC).strftime("%H:%M:%S UTC")
        hint = Text.assemble((f" {note}" if note else "", "bold red"))
        return Group(
            Text.assemble(("sluice top", "bold"), f"  {plain(self.title)}  {at}", hint),
            self._figures(frame),
            Columns([_targets(frame), _keys(frame), _failures(frame)], padding=(0, 1)),
        )

    def _figures(self, frame: Frame) -> Panel:
        table = Table.grid(padding=(0, 3))
        share = f"{frame.errors / frame.calls:.1%}" if frame.calls else "-"
        rows = [
            ("calls/s", f"{frame.calls_per_s:.2f}", "p50", _ms(frame.p50_ms)),
            ("errors", f"{frame.errors} ({share})", "p95", _ms(frame.p95_ms)),
            ("last hour", dollars(frame.hour_nano_usd), "first", _ms(frame.first_event_p50_ms)),
            ("today", dollars(frame.today_nano_usd), "cache", _share(frame.cache_hit_rate)),
        ]
        for name, value, other, measured in rows:
            table.add_row(Text(name, "dim"), Text(value, "bold"), Text(other, "dim"), measured)
        spark = Text(_spark(self.history), "green")
        return Panel.fit(Group(table, spark), box=box.ROUNDED, title="last minute")


def _targets(frame: Frame) -> Table:
    table = _table("targets, 15 min", "target", "attempts", "errors")
    for row in frame.targets[:_ROWS]:
        style = "red" if row["errors"] else ""
        table.add_row(
            Text(plain(row["target"])), str(row["attempts"]), Text(str(row["errors"]), style)
        )
    return table


def _keys(frame: Frame) -> Table:
    table = _table("keys, 1 h", "key", "calls", "cost")
    for row in frame.keys[:_ROWS]:
        name = plain(row["name"] or row["key"])
        table.add_row(Text(name), str(row["calls"]), dollars(row["cost_nano_usd"]))
    return table


def _failures(frame: Frame) -> Table:
    table = _table("errors, 1 min", "kind", "status", "calls")
    for row in frame.failures[:_ROWS]:
        table.add_row(Text(plain(row["kind"])), str(row["status"]), str(row["calls"]))
    return table


def _table(title: str, name: str, *numbers: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column(name, style="bold", overflow="ellipsis", max_width=36)
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def _spark(values: Sequence[float] | deque[float]) -> str:
    most = max(values, default=0.0)
    if not most:
        return _BARS[0] * len(values)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] for value in values)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
