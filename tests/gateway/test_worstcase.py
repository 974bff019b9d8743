from __future__ import annotations

from typing import Any

import pytest

from gateway.exchange import Call
from gateway.worstcase import bound_nano_usd, cheaper, shortened, unbounded
from tests.builders import call, price, target

KNOWN = target(price=price(), model={"max_completion_tokens": 100})
DATA = "data:image/png;base64,AAAA"


def parts(*content: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*content]}]}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom"}]},
        parts({"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": DATA}}),
        parts({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        {"web_search_options": None, "plugins": [], "enable_search": False, "models": None},
    ],
)
def test_what_is_all_here_has_a_worst_case(body: dict[str, Any]) -> None:
    assert unbounded(call(body=body).body, KNOWN.model) is None


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function"}, {"google_search": {}}]},
        {"web_search_options": {}},  # OpenAI's own example of how to switch it on
        {"plugins": [{"id": "web"}]},
        {"enable_search": True},
        {"models": ["other/dearer"]},
        {"fallbacks": [{"model": "other/dearer"}]},
        parts({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}),
        parts({"type": "file", "file": {"file_id": "file-1"}}),
        parts({"type": "input_audio", "input_audio": {"id": "audio-1"}}),
        parts({"type": "video_url", "video_url": {"url": DATA}}),
    ],
)
def test_what_the_provider_adds_has_none(body: dict[str, Any]) -> None:
    assert unbounded(call(body=body).body, KNOWN.model)


def test_a_models_largest_image_bounds_one_by_url() -> None:
    at = target(price=price(), model={"max_completion_tokens": 100, "max_image_tokens": 1_500})
    by_url = {"url": "https://example.com/cat.png"}
    costs = {}
    for detail in ("auto", "low"):
        part = {"type": "image_url", "image_url": {**by_url, "detail": detail}}
        asked = call(at=at, body=parts(part))
        assert unbounded(asked.body, at.model) is None
        costs[detail] = bound_nano_usd(asked) or 0
    without = bound_nano_usd(call(at=at, body=parts())) or 0
    assert {d: cost - without for d, cost in costs.items()} == dict.fromkeys(costs, 1_500_000)
    file = parts({"type": "file", "file": {"file_id": "file-1"}})
    assert unbounded(call(body=file).body, at.model)


def test_a_stream_that_tops_up_needs_no_longest_answer() -> None:
    shown = target(price=price(), model={"hidden_reasoning": False}).model
    assert unbounded(call(stream=True).body, shown, topped_up=True) is None
    assert unbounded(call(stream=True).body, shown)
    assert unbounded(call().body, shown, topped_up=True)
    for reasons in ({"reasoning_effort": "low"}, {"reasoning": {}}):
        asked = call(stream=True, body=reasons)
        assert unbounded(asked.body, shown, topped_up=True)


def test_targets_are_compared_by_what_a_stream_holds_at_first() -> None:
    shown = {"hidden_reasoning": False, "max_completion_tokens": 100_000}
    here = target("a/m", price=price(), model=shown)
    half = target("b/m", price=price(5e-7, 1e-6), model=shown)
    thinks = target("c/m", price=price(5e-7, 1e-6), model={**shown, "hidden_reasoning": True})
    short = target("d/m", price=price(), model={**shown, "max_completion_tokens": 1_000})
    others = [half, thinks, short]
    assert cheaper(call(at=here, stream=True), others) == [half, short]
    assert cheaper(call(at=here), others) == others


def test_an_unpriced_model_has_none() -> None:
    unpriced = target(model={"max_completion_tokens": 100})
    assert unbounded(call().body, unpriced.model)
    assert bound_nano_usd(call(at=unpriced)) is None


def test_an_answer_without_a_limit_has_none_until_the_caller_sets_one() -> None:
    unlimited = target(price=price())
    assert "max_tokens" in (unbounded(call().body, unlimited.model) or "")
    assert unbounded(call(body={"max_tokens": 7}).body, unlimited.model) is None


def test_the_worst_case_counts_the_limit_that_is_sent_for_each_choice() -> None:
    costs = [
        bound_nano_usd(call(at=KNOWN, body=body)) or 0
        for body in ({"max_tokens": 10}, {"max_tokens": 10, "n": 3}, {})
    ]
    one_token = 2_000
    assert costs[1] - costs[0] == 20 * one_token
    assert costs[2] - costs[0] == 90 * one_token


@pytest.mark.parametrize(
    ("kind", "name"), [("openai", "max_completion_tokens"), ("vllm", "max_tokens")]
)
@pytest.mark.parametrize("n", [1, 3])
def test_the_longest_answer_that_the_money_pays_for(kind: str, name: str, n: int) -> None:
    at = target(price=price(), kind=kind, model={"max_completion_tokens": 100_000})
    asked = call(at=at, body={"n": n})
    left = (bound_nano_usd(call(at=at, body={"n": n, "max_tokens": 500})) or 0) + 1_999
    found = shortened(asked, left)
    assert found is not None
    smaller, tokens = found
    assert smaller.body[name] == tokens == 500
    assert (bound_nano_usd(smaller) or 0) <= left


@pytest.mark.parametrize(
    "asked",
    [
        call(at=KNOWN, body={"max_tokens": 90}),
        call(at=KNOWN, stream=True),
        call(at=target(price=price())),
        call(at=target(model={"max_completion_tokens": 100})),
    ],
)
def test_no_other_call_is_shortened(asked: Call) -> None:
    assert shortened(asked, 10**12) is None


def test_hardly_an_answer_is_none() -> None:
    at = target(price=price(), model={"max_completion_tokens": 100})
    room = [bound_nano_usd(call(at=at, body={"max_tokens": n})) or 0 for n in (63, 64)]
    assert shortened(call(at=at), room[0]) is None
    assert shortened(call(at=at), room[1]) is not None
    assert shortened(call(at=at), 0) is None
