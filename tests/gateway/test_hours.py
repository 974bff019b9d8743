"""Hours: windows, weekdays, midnight and zones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.hours import Hours
from gateway.pricing import Price
from gateway.usage import Usage

MONDAY, SATURDAY = 2, 7  # November 2026


def at(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("block", "moment", "included"),
    [
        ({"hours_utc": "04:00-06:00"}, at(MONDAY, 4), True),
        ({"hours_utc": "04:00-06:00"}, at(MONDAY, 3, 59), False),
        ({"hours_utc": "04:00-06:00"}, at(MONDAY, 6), False),
        ({"hours_utc": ["04:00-06:00", "16:30-00:30"]}, at(MONDAY, 16, 30), True),
        ({"hours_utc": "16:30-00:30"}, at(MONDAY, 0, 29), True),
        ({"hours_utc": "16:30-00:30"}, at(MONDAY, 0, 30), False),
        ({"hours_utc": "00:00-00:00"}, at(MONDAY, 12), True),
        ({"windows": [{"hours_utc": "04:00-06:00", "weekdays": [1, 2]}]}, at(MONDAY, 5), True),
        ({"windows": [{"hours_utc": "04:00-06:00", "weekdays": [6]}]}, at(MONDAY, 5), False),
        ({"windows": [{"hours_utc": "00:00-00:00", "weekdays": [6, 7]}]}, at(SATURDAY, 5), True),
        # 17:00 on Saturday in UTC is Sunday in Shanghai.
        (
            {
                "windows": [{"hours_utc": "00:00-00:00", "weekdays": [7]}],
                "weekday_timezone": "Asia/Shanghai",
            },
            at(SATURDAY, 17),
            True,
        ),
        (
            {
                "windows": [{"hours_utc": "00:00-00:00", "weekdays": [7]}],
                "weekday_timezone": "Nowhere/Known",
            },
            at(SATURDAY, 17),
            False,
        ),
        ({}, at(MONDAY, 5), False),
    ],
)
def test_a_moment_is_within_the_hours_or_not(
    block: dict[str, Any], moment: float, included: bool
) -> None:
    assert Hours.of(block).include(moment) is included


def test_a_window_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Hours.of({"hours_utc": "late-early"})


OFF_PEAK = {
    "input_cost_per_token": 3e-7,
    "output_cost_per_token": 1.2e-6,
    "input_cost_per_token_above_128k_tokens": 9e-7,
    "off_peak_pricing": {
        "input_cost_per_token": 1.5e-7,
        "output_cost_per_token": 6e-7,
        "hours_utc": "04:00-06:00",
    },
}


def price() -> Price:
    found = Price.from_entry(OFF_PEAK)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("moment", "prompt_tokens", "nano_usd"),
    [
        (at(MONDAY, 8), 1000, 420_000),
        (at(MONDAY, 5), 1000, 210_000),
        (at(MONDAY, 8), 200_000, 180_120_000),
        # off-peak there is no long rate
        (at(MONDAY, 5), 200_000, 30_060_000),
    ],
)
def test_a_price_goes_by_the_hour(moment: float, prompt_tokens: int, nano_usd: int) -> None:
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=100)
    assert price().cost_nano_usd(usage, moment) == nano_usd


def test_without_a_moment_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: at(MONDAY, 5))
    assert price().cost_nano_usd(Usage(prompt_tokens=1000)) == 150_000


def test_a_bound_holds_at_every_hour_even_where_off_peak_is_dearer() -> None:
    dearer = OFF_PEAK | {"off_peak_pricing": {"input_cost_per_token": 5e-7, "hours_utc": []}}
    found = Price.from_entry(dearer)
    assert found is not None
    assert price().bound_nano_usd(1000, 0) == 300_000
    assert found.bound_nano_usd(1000, 0) == 500_000


def test_a_document_keeps_the_hours() -> None:
    restored = Price.from_document(price().document())
    assert restored == price()
    assert restored.cost_nano_usd(Usage(prompt_tokens=1000), at(MONDAY, 5)) == 150_000
