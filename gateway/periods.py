"""Periods: when did the day, the week or the month of a time zone begin?

Calendar periods, not spans: a day may have 23 or 25 hours. Weeks are ISO's and begin on Monday.
Where a change of the clocks leaves a day without its midnight, it begins with the change; where
midnight comes twice, with the first.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PeriodName = Literal["day", "week", "month", "total"]
PERIODS: tuple[PeriodName, ...] = get_args(PeriodName)

_LAST_MS = 2**62


class Period(NamedTuple):
    """Unix milliseconds; the end is the next one's start."""

    start_ms: int
    end_ms: int


ALWAYS = Period(0, _LAST_MS)


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises `ValueError` for a name that is none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError(f"no time zone is called {name!r}") from None


def period_of(name: PeriodName, at: tzinfo, now_ms: int) -> Period:
    """The period that `now_ms` lies in."""
    if name == "total":
        return ALWAYS
    today = datetime.fromtimestamp(now_ms / 1000, at).date()
    if name == "day":
        first, following = today, today + timedelta(days=1)
    elif name == "week":
        first = today - timedelta(days=today.weekday())
        following = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    return Period(_midnight_ms(first, at), _midnight_ms(following, at))


def _midnight_ms(day: date, at: tzinfo) -> int:
    # fold=0: in a gap this is the moment of the change, and of two midnights the first.
    return int(datetime(day.year, day.month, day.day, tzinfo=at).timestamp()) * 1000
