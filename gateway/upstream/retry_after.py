"""Retry-After: when does a provider want to be asked again?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

# Longer waits are a mistake or a quota; either way nobody sleeps on them.
MAX_S = 24 * 3600.0

_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


def wait_s(
    headers: Mapping[str, str], details: Sequence[Mapping[str, Any]], now: float
) -> float | None:
    """Seconds to wait, or None where the provider names no time.

    In this order: `retry-after-ms`, `retry-after` as seconds or HTTP date (against `now`, unix
    seconds), and Google's `RetryInfo.retryDelay` in the error's `details`.
    """
    lowered = {name.lower(): value for name, value in headers.items() if len(name) < 16}
    for wait in (
        _scaled(lowered.get("retry-after-ms"), 0.001),
        _scaled(lowered.get("retry-after"), 1.0),
        _until(lowered.get("retry-after"), now),
        _google(details),
    ):
        if wait is not None:
            return min(max(wait, 0.0), MAX_S)
    return None


def _scaled(text: str | None, unit: float) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value * unit if math.isfinite(value) else None


def _until(text: str | None, now: float) -> float | None:
    try:
        return parsedate_to_datetime(text or "").timestamp() - now
    except (ValueError, OverflowError):
        return None


def _google(details: Sequence[Mapping[str, Any]]) -> float | None:
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (found := _DURATION.fullmatch(delay)):
            return float(found[1])
    return None
