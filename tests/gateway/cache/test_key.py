"""Which calls may share an answer, beside those with the same body?"""

from __future__ import annotations

from dataclasses import replace

from gateway.cache.key import Keys
from gateway.config import Alias
from gateway.targets import Target
from gateway.trace import Routed
from tests.builders import call, target

OWN, SECOND = target("one/m"), target("two/m")
BORROWED = replace(target("three/else"), fallback="other")
KEYS = Keys({"smart": Alias(targets=("one/m", "two/m"), fallbacks=("other",))}, ())


def digest(*candidates: Target) -> bytes:
    made = call(body={"model": "smart"}, candidates=candidates)
    made.trace.add(Routed("smart", "smart", tuple(one.name for one in candidates)))
    return KEYS.digest(made)


def test_a_key_that_may_not_use_a_fallback_shares_no_flight_with_one_that_may() -> None:
    """Whoever joins a flight is given what it comes to: perhaps the fallback's answer."""
    assert digest(OWN, SECOND) != digest(OWN, SECOND, BORROWED)


def test_neither_the_order_of_targets_nor_their_health_makes_a_difference() -> None:
    assert digest(OWN, SECOND, BORROWED) == digest(BORROWED, SECOND, OWN)
    assert digest(OWN, SECOND) == digest(SECOND)
