"""Which time does a request ask about?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from gateway.edge.admin.shapes import JSON, Parameter, Text, invalid
from gateway.periods import zone

_LATEST_MS = 253_370_764_800_000  # the year 9999, with which calendars end
_LONGEST_DIGITS = 15  # of that


class Moment:
    """Unix milliseconds, or ISO 8601: without an offset it is of the zone that was asked for."""

    def schema(self) -> JSON:
        return {"type": "string", "description": "Unix milliseconds, or ISO 8601."}

    def read(self, value: Any, param: str) -> int | datetime:
        return self.parse(str(value), param)

    def parse(self, text: str, param: str) -> int | datetime:
        if text.isdecimal() and len(text) > 8:  # shorter ones are dates: 20261101
            return int(text[: _LONGEST_DIGITS + 1])  # more is too far in the future anyway
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise invalid(param, "must be unix milliseconds or a date such as 2026-11-01") from None


PERIOD: Mapping[str, Parameter] = {"since": Moment(), "until": Moment(), "zone": Text(most=64)}
"""What every report is asked with. `since` is included, `until` is not."""


def zone_of(query: Mapping[str, Any]) -> tzinfo:
    """The zone asked for, else UTC. Raises `InvalidRequest`."""
    try:
        return zone(query["zone"]) if "zone" in query else UTC
    except ValueError as error:
        raise invalid("zone", f"cannot be used: {error}") from None


def period_of(query: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The asked period in unix milliseconds; None is open. Raises `InvalidRequest`."""
    at = zone_of(query)
    since_ms, until_ms = (_unix_ms(query.get(name), at, name) for name in ("since", "until"))
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise invalid("until", "must be later than since")
    return since_ms, until_ms


def _unix_ms(given: int | datetime | None, at: tzinfo, param: str) -> int | None:
    if given is None:
        return None
    found = given if isinstance(given, int) else _timestamp_ms(given, at)
    if not 0 <= found <= _LATEST_MS:
        raise invalid(param, "must be between the years 1970 and 9999")
    return found


def _timestamp_ms(moment: datetime, at: tzinfo) -> int:
    try:
        return int((moment if moment.tzinfo else moment.replace(tzinfo=at)).timestamp() * 1000)
    except (OverflowError, ValueError):
        return -1
