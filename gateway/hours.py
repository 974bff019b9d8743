"""Hours: when does a weekly discount hold?

The block is a price table's: `hours_utc` is one window "HH:MM-HH:MM" or a list of them, every
day; `windows` are rules with `hours_utc` and, optionally, `weekdays` (1 is Monday) on the
calendar of `weekday_timezone`. A window includes its start and not its end; one that ends before
it starts runs past midnight, and one that ends where it starts lasts all day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

WINDOWS = ("hours_utc", "windows", "weekday_timezone")
"""The settings of a block that say when."""

_EVERY_DAY = frozenset(range(1, 8))


@dataclass(frozen=True, slots=True)
class Hours:
    """Windows of (start, end, weekdays), in minutes of the UTC day, on a zone's calendar."""

    windows: tuple[tuple[int, int, frozenset[int]], ...]
    zone: tzinfo

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> Hours:
        """Raises `ValueError` for a window that cannot be read."""
        windows = tuple(_windows(block, _EVERY_DAY))
        for rule in block.get("windows") or ():
            windows += tuple(_windows(rule, frozenset(rule.get("weekdays") or _EVERY_DAY)))
        return cls(windows, _zone(block.get("weekday_timezone")))

    def include(self, at_s: float) -> bool:
        """Does this moment, in unix seconds, lie in a window?"""
        moment = datetime.fromtimestamp(at_s, UTC)
        minute = moment.hour * 60 + moment.minute
        weekday = moment.astimezone(self.zone).isoweekday()
        return any(
            weekday in days
            and (start <= minute < end if start < end else minute >= start or minute < end)
            for start, end, days in self.windows
        )


def _windows(
    block: Mapping[str, Any], days: frozenset[int]
) -> Iterator[tuple[int, int, frozenset[int]]]:
    stated = block.get("hours_utc") or ()
    for text in [stated] if isinstance(stated, str) else stated:
        start, _, end = text.partition("-")
        yield _minute(start), _minute(end), days


def _minute(text: str) -> int:
    hours, _, minutes = text.strip().partition(":")
    return int(hours) * 60 + int(minutes)


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, ZoneInfoNotFoundError):
        return UTC  # a system without that zone's data: the weekday may turn some hours early
