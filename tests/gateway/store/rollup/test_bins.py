"""Do days and hours begin where a clock on the wall of the zone says?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from gateway.store.rollup.bins import BinName, bins
from gateway.store.rollup.families import DAY_MS, QUARTER_MS


def unix_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


SINCE, UNTIL = unix_ms("2025-01-10T00:00"), unix_ms("2026-02-01T00:00")
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Asia/Kathmandu"]
ZONES += ["Australia/Lord_Howe", "Pacific/Chatham", "America/New_York", "Pacific/Kiritimati"]


@pytest.mark.parametrize("name", ["day", "hour"])
@pytest.mark.parametrize("zone", ZONES)
def test_a_moment_is_in_the_bin_that_the_wall_clock_shows(zone: str, name: BinName) -> None:
    found = bins(name, ZoneInfo(zone), SINCE, UNTIL)
    with closing(sqlite3.connect(":memory:")) as db:
        query = f"SELECT {found.sql('?1')}"
        changes = [start + step * QUARTER_MS for start, _ in found.offsets for step in (-2, -1, 0)]
        around = [at_ms for at_ms in changes if at_ms >= SINCE]
        for at_ms in (*range(SINCE, UNTIL, 7 * QUARTER_MS), *around):
            wall = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
            text = wall.date().isoformat() if name == "day" else f"{wall:%Y-%m-%dT%H}:00"
            assert found.label(found.number(at_ms)) == text
            assert db.execute(query, (at_ms,)).fetchone() == (found.number(at_ms),)


@pytest.mark.parametrize("zone", ZONES)
def test_days_begin_at_midnight_and_none_is_left_out(zone: str) -> None:
    found = bins("day", ZoneInfo(zone), SINCE, UNTIL)
    numbers = found.between(SINCE, UNTIL)
    starts = [found.start_ms(number) for number in numbers]
    for start, number in zip(starts[1:], numbers[1:], strict=True):
        wall = datetime.fromtimestamp(start / 1000, ZoneInfo(zone))
        assert (wall.hour, wall.minute) == (0, 0)
        assert found.number(start) == number
        assert found.number(start - 1) == number - 1
    assert {b - a for a, b in pairwise(starts[1:])} <= {
        DAY_MS,
        DAY_MS - 2 * QUARTER_MS,
        DAY_MS + 2 * QUARTER_MS,
        DAY_MS - 4 * QUARTER_MS,
        DAY_MS + 4 * QUARTER_MS,
    }


def test_every_zone_consists_of_quarter_hours() -> None:
    for name in available_timezones():
        for since in (SINCE, SINCE + 182 * DAY_MS, UNTIL + 3_650 * DAY_MS):
            bins("day", ZoneInfo(name), since, since + 14 * DAY_MS)


def test_an_offset_that_is_no_quarter_hour_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole quarter hour"):
        bins("day", timezone(timedelta(minutes=5)), SINCE, UNTIL)


def test_only_days_of_utc_are_whole_days() -> None:
    assert bins("day", UTC, SINCE, UNTIL).whole_days
    assert not bins("hour", UTC, SINCE, UNTIL).whole_days
    assert not bins("day", ZoneInfo("Europe/London"), SINCE, UNTIL).whole_days
