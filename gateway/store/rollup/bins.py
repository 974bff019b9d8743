"""Bins: in which day or hour of a time zone does a moment lie, as SQL?

A zone's offset from UTC changes a few times a year at most, so within a period it is a handful of
constants. All offsets since 1972 are whole quarter hours, which sums are kept for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

from gateway.store.rollup.families import DAY_MS, QUARTER_MS

HOUR_MS = 3_600_000
BinName = Literal["hour", "day"]
_LENGTHS_MS = {"hour": HOUR_MS, "day": DAY_MS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Days or hours of a zone between two moments. A bin's number counts from 1970, zone time.

    `offsets` are (from when, milliseconds east of UTC), oldest first.
    """

    name: BinName
    offsets: tuple[tuple[int, int], ...]

    @property
    def whole_days(self) -> bool:
        """Do they consist of days of UTC?"""
        return self.name == "day" and all(offset == 0 for _, offset in self.offsets)

    def sql(self, column: str) -> str:
        """The number of the bin that a time is in."""
        length = _LENGTHS_MS[self.name]
        *_, (_, last) = self.offsets
        text = f"({column} + {last}) / {length}"
        if len(self.offsets) == 1:
            return text
        before = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        cases = " ".join(
            f"WHEN {column} < {until_ms} THEN ({column} + {offset}) / {length}"
            for (_, offset), (until_ms, _) in before
        )
        return f"CASE {cases} ELSE {text} END"

    def number(self, at_ms: int) -> int:
        """The same for one moment."""
        offset = next(o for start, o in reversed(self.offsets) if start <= at_ms)
        return (at_ms + offset) // _LENGTHS_MS[self.name]

    def start_ms(self, number: int) -> int:
        """When a bin begins."""
        local = number * _LENGTHS_MS[self.name]
        starts = (max(start, local - offset) for start, offset in self.offsets)
        return min((at for at in starts if self.number(at) >= number), default=local)

    def label(self, number: int) -> str:
        """`2026-11-01` or `2026-11-01T13:00`: zone time, as a clock on the wall shows it."""
        moment = _EPOCH + timedelta(milliseconds=number * _LENGTHS_MS[self.name])
        return moment.date().isoformat() if self.name == "day" else f"{moment:%Y-%m-%dT%H:%M}"

    def between(self, since_ms: int, until_ms: int) -> range:
        """The numbers of all bins of a stretch of time."""
        return range(self.number(since_ms), self.number(max(since_ms, until_ms - 1)) + 1)


def bins(name: BinName, zone: tzinfo, since_ms: int, until_ms: int) -> Bins:
    """The bins of a zone from `since_ms` to `until_ms`. Raises `ValueError` for a zone whose
    offset was no whole quarter hour then.
    """
    return Bins(name=name, offsets=tuple(_offsets(zone, since_ms, until_ms)))


def day_start_ms(day: date, zone: tzinfo) -> int:
    """When a day of a zone begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def _offsets(zone: tzinfo, since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    at_ms, offset = since_ms, _offset(zone, since_ms)
    yield 0, offset
    while at_ms < until_ms:
        following = min(at_ms + 7 * DAY_MS, until_ms)  # no zone changes twice within a week
        changed = _offset(zone, following)
        if changed != offset:
            yield _change(zone, at_ms, following), changed
        at_ms, offset = following, changed


def _change(zone: tzinfo, before_ms: int, after_ms: int) -> int:
    """The first quarter hour with the offset that holds at `after_ms`."""
    wanted = _offset(zone, after_ms)
    low, high = before_ms // QUARTER_MS, -(-after_ms // QUARTER_MS)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle * QUARTER_MS) == wanted:
            high = middle
        else:
            low = middle
    return high * QUARTER_MS


def _offset(zone: tzinfo, at_ms: int) -> int:
    offset = datetime.fromtimestamp(at_ms / 1000, zone).utcoffset() or timedelta()
    offset_ms = offset // timedelta(milliseconds=1)
    if offset_ms % QUARTER_MS:
        raise ValueError(f"{zone} was {offset} off UTC, which is no whole quarter hour")
    return offset_ms
