"""For how long an answer does a stream hold money at first, and for how much more next?"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.exchange import Call
from gateway.reserve import Reserve, reserve_of
from gateway.worstcase import bound_nano_usd
from tests.builders import call, price, target

SHOWN: dict[str, Any] = {"hidden_reasoning": False, "max_completion_tokens": 10_000}
AT = target(price=price(), model=SHOWN)
TOKEN = 2_000


def reserve(call_: Call, each: int = 1_000) -> Reserve:
    found = reserve_of(call_, each)
    assert found is not None
    return found


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_holds_a_first_part_of_each_choice(n: int) -> None:
    held = reserve(call(at=AT, stream=True, body={"n": n}))
    limited = call(at=AT, stream=True, body={"n": n, "max_tokens": 1_000})
    assert (held.tokens, held.top_ups) == (n * 1_000, 0)
    assert held.bound_nano_usd == bound_nano_usd(limited)


def test_nobody_has_to_know_how_long_an_answer_can_be() -> None:
    held = reserve(call(at=target(price=price(), model={"hidden_reasoning": False}), stream=True))
    assert held.next(10**6) == 10**6
    assert not held.covers(1_001)


@pytest.mark.parametrize(
    "whole",
    [
        call(at=AT),
        call(at=AT, stream=True, body={"max_tokens": 9_000}),
        call(at=AT, stream=True, body={"max_completion_tokens": 9_000}),
        call(at=AT, stream=True, body={"reasoning_effort": "high"}),
        call(at=AT, stream=True, body={"thinking": {"type": "enabled"}}),
        call(at=AT, stream=True, body={"modalities": ["text", "audio"]}),
        call(at=AT, stream=True, body={"prediction": {"type": "content", "content": "x"}}),
        call(at=AT, stream=True, body={"best_of": 3}),
        call(at=target(price=price(), model={**SHOWN, "hidden_reasoning": True}), stream=True),
        call(at=target(price=price(), model={**SHOWN, "hidden_reasoning": None}), stream=True),
        call(at=target(price=price(), model={**SHOWN, "max_completion_tokens": 900}), stream=True),
        call(at=target(model=SHOWN), stream=True),
    ],
)
def test_others_hold_their_worst_case_from_the_start(whole: Call) -> None:
    assert reserve_of(whole, 1_000) is None


@pytest.mark.parametrize(
    ("needed", "asked"), [(1_001, 2_000), (2_000, 2_000), (2_001, 3_000), (99_999, 10_000)]
)
def test_it_asks_for_the_same_again_up_to_the_longest_answer(needed: int, asked: int) -> None:
    assert reserve(call(at=AT, stream=True)).next(needed) == asked


def test_hardly_more_is_not_worth_asking_for() -> None:
    held = reserve(call(at=AT, stream=True))
    assert [held.least(needed) for needed in (1_001, 1_064, 1_500)] == [1_064, 1_064, 1_500]
    held.reach(9_990)
    assert held.least(9_991) == 10_000


@pytest.mark.parametrize(
    ("left", "tokens"),
    [(0, 1_000), (TOKEN - 1, 1_000), (TOKEN, 1_001), (99 * TOKEN, 1_099), (10**12, 2_000)],
)
def test_what_is_left_pays_for_so_much(left: int, tokens: int) -> None:
    held = reserve(call(at=AT, stream=True))
    assert held.affordable(2_000, left) == tokens
    assert held.price_of(tokens) <= left


def test_what_is_reached_is_paid_for_once_and_the_longest_answer_covers_all() -> None:
    held = reserve(call(at=AT, stream=True))
    first = held.bound_nano_usd
    assert (held.covers(1_000), held.covers(1_001)) == (True, False)
    held.reach(2_000)
    assert (held.bound_nano_usd - first, held.top_ups) == (1_000 * TOKEN, 1)
    assert not held.covers(2_001)
    held.reach(10_000)
    assert held.bound_nano_usd == bound_nano_usd(call(at=AT, stream=True))
    assert held.covers(10**9)
