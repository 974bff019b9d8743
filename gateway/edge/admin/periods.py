"""Which time does a request ask about?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from gateway.edge.admin.shapes import JSON, Parameter, Text, invalid
from gateway.periods import zone

_LATEST_MS = 2**53
_LONGEST_DIGITS = 16  # of that


class Moment:
    """Unix milliseconds, or ISO 8601: without an offset it is of the zone that was asked for."""

    def schema(self) -> JSON:
        return {"type": "string", "description": "Unix milliseconds, or ISO 8601."}

    def read(self, value: Any, param: str) -> int | datetime:
        return self.parse(str(value), param)

    def parse(self, text: str, param: str) -> int | datetime:
        if text.isdecimal() and len(text) > 8:  # shorter ones are dates: 20261101
            if len(text) > _LONGEST_DIGITS or int(text) > _LATEST_MS:
                raise invalid(param, "is too far in the future")
            return int(text)
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
    if given is None or isinstance(given, int):
        return given
    moment = given if given.tzinfo else given.replace(tzinfo=at)
    try:
        found = int(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        found = -1
    if found < 0:
        raise invalid(param, "must be later than 1970")
    return found
