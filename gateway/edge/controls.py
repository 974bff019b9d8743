"""Request controls: what does a caller ask of the gateway itself?

As headers (`x-sluice-…`) or in the body's `sluice` object, which wins; and as `cache-control`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gateway.errors import InvalidRequest

MAX_TAGS = 16
MAX_TAG_LENGTH = 64
MAX_NAMESPACE_LENGTH = 64


def controls(headers: Mapping[str, str], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The controls of a call, from both places. Raises `InvalidRequest`."""
    found: dict[str, Any] = {}
    if (text := headers.get("x-sluice-deadline-s")) is not None:
        found["deadline_s"] = _positive_number(text)
    if (text := headers.get("x-sluice-tags")) is not None:
        found["tags"] = _tags(text)
    if (text := headers.get("x-sluice-cache")) is not None:
        found["cache"] = text
    if (text := headers.get("x-sluice-cache-namespace")) is not None:
        found["cache_namespace"] = _namespace(text)
    if (text := headers.get("cache-control")) is not None:
        found["cache_control"] = text
    return {**found, **body} if found else body


def deadline_s(wishes: Mapping[str, Any], longest_s: float) -> float:
    """Seconds that the call may take: the caller's wish, never more than is configured."""
    wish = wishes.get("deadline_s")
    return longest_s if wish is None else min(float(wish), longest_s)


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0 or math.isinf(value):
        raise InvalidRequest(
            "The header x-sluice-deadline-s must be a positive number of seconds.",
            param="x-sluice-deadline-s",
        )
    return value


def _tags(text: str) -> list[str]:
    tags = [tag.strip() for tag in text.split(",") if tag.strip()]
    if len(tags) > MAX_TAGS or not all(_is_name(tag, MAX_TAG_LENGTH) for tag in tags):
        raise InvalidRequest(
            f"The header x-sluice-tags takes {MAX_TAGS} tags of {MAX_TAG_LENGTH} printable "
            "characters.",
            param="x-sluice-tags",
        )
    return tags


def _namespace(text: str) -> str:
    name = text.strip()
    if not _is_name(name, MAX_NAMESPACE_LENGTH):
        raise InvalidRequest(
            f"The header x-sluice-cache-namespace takes 1 to {MAX_NAMESPACE_LENGTH} printable "
            "characters.",
            param="x-sluice-cache-namespace",
        )
    return name


def _is_name(text: str, most: int) -> bool:
    """As in a body: nothing in it that a log or a terminal could not show."""
    return 0 < len(text) <= most and text.isprintable()
