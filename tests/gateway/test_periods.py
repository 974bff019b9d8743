from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.periods import ALWAYS, PERIODS, PeriodName, period_of, zone

ZONES = ["UTC", "Europe/Zurich", "America/Havana", "America/Sao_Paulo", "Asia/Kathmandu"]
ZONES += ["Australia/Lord_Howe", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia"]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("name", "at", "now", "start", "end"),
    [
        ("day", "UTC", "2026-11-22T12:00Z", "2026-11-22T00:00Z", "2026-11-23T00:00Z"),
        ("day", "UTC", "2026-11-22T00:00Z", "2026-11-22T00:00Z", "2026-11-23T00:00Z"),
        # Zurich: 23 hours, then 25.
        ("day", "Europe/Zurich", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("day", "Europe/Zurich", "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("day", "Europe/Zurich", "2026-10-25T23:00Z", "2026-10-25T23:00Z", "2026-10-26T23:00Z"),
        # Havana: midnight comes twice; the day begins with the first.
        ("day", "America/Havana", "2025-11-02T05:30Z", "2025-11-02T04:00Z", "2025-11-03T05:00Z"),
        # Havana: there is no midnight; the day begins with the change.
        ("day", "America/Havana", "2025-03-09T12:00Z", "2025-03-09T05:00Z", "2025-03-10T04:00Z"),
        # São Paulo: the hour before midnight comes twice and belongs to the day that ends.
        ("day", "America/Sao_Paulo", "2018-02-18T02:30Z", "2018-02-17T02:00Z", "2018-02-18T03:00Z"),
        # Weeks are ISO's.
        ("week", "UTC", "2026-11-22T23:59Z", "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
        ("week", "UTC", "2027-01-01T00:00Z", "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
        ("week", "Europe/Zurich", "2026-03-29T21:59Z", "2026-03-22T23:00Z", "2026-03-29T22:00Z"),
        ("month", "UTC", "2028-02-29T23:59Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        ("month", "Asia/Kathmandu", "2026-12-31T18:15Z", "2026-12-31T18:15Z", "2027-01-31T18:15Z"),
        ("month", "Europe/Zurich", "2026-10-31T12:00Z", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
    ],
)
def test_a_period_follows_the_calendar_of_its_zone(
    name: PeriodName, at: str, now: str, start: str, end: str
) -> None:
    assert period_of(name, zone(at), ms(now)) == (ms(start), ms(end))


def test_a_total_never_ends() -> None:
    assert period_of("total", UTC, ms("2026-11-22T12:00Z")) == ALWAYS


@given(
    st.sampled_from(PERIODS),
    st.sampled_from(ZONES),
    st.integers(ms("1990-01-01T00:00Z"), ms("2060-01-01T00:00Z")),
)
def test_periods_join_without_gap_or_overlap(name: PeriodName, at: str, now_ms: int) -> None:
    here = zone(at)
    period = period_of(name, here, now_ms)
    assert period.start_ms <= now_ms < period.end_ms
    if name != "total":
        assert period_of(name, here, period.end_ms).start_ms == period.end_ms
        assert period_of(name, here, period.end_ms - 1) == period


@pytest.mark.parametrize("name", ["Europe/Zürich", "", "../etc/passwd", "Mars", "Europe"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        zone(name)
