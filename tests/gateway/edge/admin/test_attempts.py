"""How often may somebody guess?"""

from __future__ import annotations

import pytest

from gateway.edge.admin.attempts import MOST, WITHIN_S, Attempts
from gateway.errors import RateLimitExceeded
from tests.fakes.clock import Clock


def test_an_address_that_guessed_too_often_waits() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(MOST):
        attempts.check("a")
        attempts.failed("a")
        clock.now += 1
    with pytest.raises(RateLimitExceeded) as refused:
        attempts.check("a")
    assert refused.value.retry_after_s == WITHIN_S - MOST
    attempts.check("b")
    clock.now += WITHIN_S - MOST
    attempts.check("a")  # the first of them is over
    attempts.failed("a")
    with pytest.raises(RateLimitExceeded):
        attempts.check("a")


def test_many_addresses_do_not_fill_the_memory() -> None:
    attempts = Attempts(Clock(), most=1)
    for number in range(3000):
        attempts.failed(str(number))
    attempts.check("0")  # forgotten
    with pytest.raises(RateLimitExceeded):
        attempts.check("2999")
    assert len(attempts._failed) == 1000
