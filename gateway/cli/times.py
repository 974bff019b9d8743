"""Times on the command line: `30d`, `12h`, `2026-11-01`, `2026-11-01T12:00`; always UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any, Literal

import click

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LATEST_S = 253_370_764_800  # the year 9999, with which calendars end
_SPAN = re.compile(r"(\d{1,6})([mhdw])")


def seconds(span: str) -> int:
    """A span such as 24h in seconds. Raises `click.UsageError`."""
    match = _SPAN.fullmatch(span)
    if not match:
        raise click.UsageError(f"{span!r} is no span such as 30d, 12h or 15m.")
    return int(match[1]) * _SECONDS[match[2]]


class When(click.ParamType[float]):
    """A point in time as unix seconds: a date, or a span from now into the past or the future."""

    name = "when"

    def __init__(self, direction: Literal["past", "future"]) -> None:
        self._sign = 1 if direction == "future" else -1

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        if _SPAN.fullmatch(value):
            found = time.time() + self._sign * seconds(value)
        else:
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                self.fail(f"{value!r} is neither a span such as 30d or 12h nor a date.", param, ctx)
            found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if not 0 <= found < _LATEST_S:
            self.fail(f"{value!r} is not between the years 1970 and 9999.", param, ctx)
        return found


def moment(unix_ms: float | None) -> str:
    """Unix milliseconds as people read them, in UTC to the second."""
    if unix_ms is None:
        return "-"
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
