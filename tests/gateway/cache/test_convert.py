"""Does either form of an answer say what the other said?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.convert import assembled, exploded
from gateway.exchange import JSON
from gateway.usage import Usage

HEAD: JSON = {"id": "chatcmpl-9", "created": 5, "model": "m", "system_fingerprint": "fp"}
USAGE: JSON = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def chunks(*deltas: JSON, reason: str = "stop", **choice: Any) -> list[JSON]:
    head = {**HEAD, "object": "chat.completion.chunk"}
    pieces = [{"index": 0, "delta": delta, "finish_reason": None, **choice} for delta in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": reason}
    return [
        *({**head, "choices": [piece], "usage": None} for piece in (*pieces, end)),
        {**head, "choices": [], "usage": USAGE},
    ]


def message(*deltas: JSON, **more: Any) -> JSON:
    found: JSON = assembled(chunks(*deltas, **more))["choices"][0]["message"]
    return found


def test_a_stream_comes_to_a_completion() -> None:
    found = assembled(
        chunks({"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"})
    )
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "ab"},
        "finish_reason": "stop",
    }
    assert found == {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def test_reasoning_and_refusals_are_joined() -> None:
    found = message({"reasoning_content": "hm"}, {"reasoning_content": "m"}, {"refusal": "no"})
    assert found["reasoning_content"] == "hmm"
    assert found["refusal"] == "no"
    assert found["content"] is None


def test_parallel_tool_calls_are_joined_by_index() -> None:
    def piece(index: int, **call: Any) -> JSON:
        return {"tool_calls": [{"index": index, **call}]}

    found = message(
        piece(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        piece(0, function={"arguments": '{"x":'}),
        piece(1, id="b", type="function", function={"name": "g", "arguments": "{}"}),
        piece(0, function={"name": "", "arguments": " 1}"}),
        reason="tool_calls",
    )
    assert found["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


@pytest.mark.parametrize("order", [(1, 2, 1), (2, 1, 1), (0, 3, 0)])
def test_the_indices_of_tool_calls_need_not_begin_at_0_nor_come_in_order(
    order: tuple[int, int, int],
) -> None:
    """Some servers count a text before them, too."""
    seen: set[int] = set()

    def piece(index: int) -> JSON:
        name = {} if index in seen else {"id": f"c{index}", "type": "function"}
        seen.add(index)
        function = {"name": f"f{index}" if name else "", "arguments": "1"}
        return {"tool_calls": [{"index": index, **name, "function": function}]}

    found = message(*map(piece, order), reason="tool_calls")["tool_calls"]
    assert [(call["id"], call["function"]) for call in found] == [
        (f"c{index}", {"name": f"f{index}", "arguments": "1" * order.count(index)})
        for index in sorted(set(order))
    ]
    assert all("index" not in call for call in found)


def test_log_probabilities_are_put_one_after_another() -> None:
    given = chunks({"content": "a"}, {"content": "b"}, logprobs={"content": [{"token": "t"}]})
    found = assembled(given)["choices"][0]["logprobs"]
    assert found == {"content": [{"token": "t"}, {"token": "t"}]}


def test_choices_are_told_apart() -> None:
    given = [
        {**chunk, "choices": [{**choice, "index": index} for choice in chunk["choices"]]}
        for chunk in chunks({"content": "a"})
        for index in (1, 0)
    ]
    found = assembled(given)["choices"]
    assert [choice["index"] for choice in found] == [0, 1]
    assert [choice["message"]["content"] for choice in found] == ["a", "a"]


def test_assembling_leaves_the_events_alone() -> None:
    given = chunks({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "1"}}]})
    before = repr(given)
    assembled(given)
    assert repr(given) == before


def tool_call(n: int) -> JSON:
    return {"id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": "{}"}}


MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | st.text()},
    optional={
        "reasoning_content": st.text(),
        "tool_calls": st.integers(1, 3).map(lambda n: [tool_call(i) for i in range(n)]),
        "annotations": st.just([{"type": "url_citation", "url_citation": {"url": "u"}}]),
    },
)


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.sampled_from(["stop", "tool_calls"]))
def test_a_completion_survives_being_streamed(messages: list[JSON], reason: str) -> None:
    choices = [
        {"index": i, "message": message, "finish_reason": reason}
        for i, message in enumerate(messages)
    ]
    original = {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE}
    usage = Usage(prompt_tokens=1, completion_tokens=2)
    events = exploded(original, usage)
    assert assembled(event.data for event in events) == original
    assert [event.usage for event in events if event.usage] == [usage]
    assert {event.data["object"] for event in events} == {"chat.completion.chunk"}
