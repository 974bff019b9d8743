"""Terms: is the cache on for this call, and how may it be used?

It is off unless the alias, the key or the call turns it on; the call's word counts most. A call
says it in `x-sluice-cache`, or in `cache` of the body's `sluice` object, as directives separated
by commas. A `cache-control` header can only restrict what is on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config import Alias
from gateway.config import Cache as CacheSettings
from gateway.errors import InvalidRequest
from gateway.exchange import Call
from gateway.trace import Routed

_WORDS = ("on", "off", "no-cache", "no-store")
_NUMBERS = ("ttl", "max-age")
_LONGEST_S = 1e9
_RESTRICTIONS = ("no-cache", "no-store", "max-age")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one call uses the cache. Times are seconds."""

    ttl_s: float
    read: bool = True
    store: bool = True
    max_age_s: float = math.inf
    namespace: str | None = None


def terms_of(call: Call, aliases: Mapping[str, Alias], settings: CacheSettings) -> Terms | None:
    """The terms of a call that Route has seen; None: off. Raises `InvalidRequest`."""
    wish = call.controls.get("cache")
    said: Mapping[str, float] = _directives(wish) if isinstance(wish, str) else {}
    if wish is False or "off" in said:
        return None
    routed = call.trace.last(Routed)
    alias = aliases.get(routed.alias) if routed and routed.alias else None
    alias_ttl_s = alias.cache_ttl_s if alias else None
    if alias_ttl_s == 0:  # the alias's answers are for one use
        return None
    asked = wish is True or "on" in said or "ttl" in said
    if not asked and not alias_ttl_s and not (call.key and call.key.setting("cache")):
        return None
    header = call.controls.get("cache_control")
    further = _restrictions(header) if header else {}
    return Terms(
        ttl_s=said.get("ttl", alias_ttl_s or settings.ttl_s),
        read="no-cache" not in said and "no-cache" not in further,
        store="no-store" not in said and "no-store" not in further,
        max_age_s=min(said.get("max-age", math.inf), further.get("max-age", math.inf)),
        namespace=call.controls.get("cache_namespace"),
    )


def _directives(text: str) -> Mapping[str, float]:
    """Our own header: what it says has to be understood."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.strip().lower().partition("=")
        value = _seconds(number) if equals else 1.0
        if value is None or name not in (_NUMBERS if equals else _WORDS):
            known = ", ".join((*_WORDS, *(f"{name}=SECONDS" for name in _NUMBERS)))
            raise InvalidRequest(f"The control cache takes: {known}.", param="x-sluice-cache")
        found[name] = value
    return found


def _restrictions(text: str) -> Mapping[str, float]:
    """The standard header: what we do not know in it is passed over, as it demands."""
    parts = (part.strip().lower().partition("=") for part in text.split(","))
    found = {name: _seconds(number or "1") for name, _, number in parts if name in _RESTRICTIONS}
    return {name: value for name, value in found.items() if value is not None}


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return min(value, _LONGEST_S) if 0 <= value < math.inf else None
