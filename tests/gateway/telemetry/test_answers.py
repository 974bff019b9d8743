"""What is kept of an answer, and how is it written in a span?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.exchange import Completion, Event
from gateway.telemetry.answers import Answer, Observed
from gateway.telemetry.content import content_attributes
from tests.builders import stream

CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def chunk(delta: dict[str, Any], reason: str | None = None) -> Event:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return Event({"id": "c1", "model": "m-2026", "choices": [choice]})


def whole(message: dict[str, Any]) -> Completion:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Completion(data={"id": "c1", "model": "m-2026", "choices": [choice]})


async def watched(*events: Event, content: bool = True) -> Answer:
    answer, reply = Answer(content=content), stream(list(events))
    answer.watch(reply)
    async for _ in reply:
        pass
    return answer


def written(answer: Answer, *asked: dict[str, Any]) -> dict[str, Any]:
    body = {"messages": list(asked)}
    texts = content_attributes(body, answer.messages, answer.finish_reasons)
    return {name: json.loads(text) for name, text in texts.items()}


async def test_a_stream_says_the_same_as_a_whole_answer() -> None:
    pieces = [
        chunk({"role": "assistant", "content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]}),
        chunk({}, "stop"),
        Event({"id": "c1", "choices": [], "usage": {}}),
    ]
    streamed, at_once = await watched(*pieces), Answer(content=True)
    at_once.watch(whole({"role": "assistant", "content": "Hello", "tool_calls": [CALL]}))
    for answer in (streamed, at_once):
        assert (answer.id, answer.model) == ("c1", "m-2026")
        assert written(answer)["gen_ai.output.messages"] == [
            {
                "role": "assistant",
                "parts": [
                    {"type": "text", "content": "Hello"},
                    {"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}},
                ],
                "finish_reason": "stop",
            }
        ]


async def test_nothing_of_the_content_is_kept_unless_asked_for() -> None:
    answer = await watched(chunk({"content": "secret"}), chunk({}, "stop"), content=False)
    assert answer.messages == {}
    assert answer.finish_reasons == {0: "stop"}


async def test_what_is_kept_is_not_described() -> None:
    answer = await watched(chunk({"content": "secret"}))
    seen = Observed(1, {"messages": [{"content": "secret"}]}, answer)
    assert seen.describe() == {"fact": "observed", "number": 1, "model": "m-2026"}
    assert "secret" not in repr(seen)


async def test_an_answer_of_any_shape_is_watched() -> None:
    odd = Event({"id": 7, "model": None, "choices": None})
    long = Event({"id": "x" * 1000, "choices": [{"delta": None}]})
    answer = await watched(odd, long)
    assert answer.model is None
    assert len(answer.id or "") == 200


def test_a_prompt_is_written_by_role_and_part() -> None:
    found = written(
        Answer(content=True),
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "t1", "content": "42"},
    )
    assert found["gen_ai.system_instructions"] == [{"type": "text", "content": "Be brief."}]
    assert found["gen_ai.input.messages"] == [
        {"role": "user", "parts": [{"type": "text", "content": "Look"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}}],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "t1", "response": "42"}],
        },
    ]
    assert "gen_ai.output.messages" not in found


def test_arguments_that_are_no_json_stay_text() -> None:
    broken = {**CALL, "function": {"name": "f", "arguments": "{"}}
    (message,) = written(
        Answer(content=True), {"role": "assistant", "content": "x", "tool_calls": [broken]}
    )["gen_ai.input.messages"]
    assert message["parts"][1]["arguments"] == "{"


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("index", [None, "0", [1], 1.5])
def test_what_no_provider_should_say_is_no_trouble_of_the_call(index: Any, content: bool) -> None:
    """An answer that was paid for must not be lost for a report about it."""
    function = {"name": "f", "arguments": {"city": "Paris"}}
    calls = [
        {"id": "a", "index": index, "function": function},
        {"id": "b", "function": function, "index": 1},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    answer = Answer(content=content)
    choice = {"index": index, "message": message, "finish_reason": "tool_calls"}
    answer.watch(Completion(data={"choices": [choice]}))
    assert answer.finish_reasons == {0: "tool_calls"}
    said = content_attributes({"messages": []}, answer.messages, answer.finish_reasons)
    assert ("Paris" in said.get("gen_ai.output.messages", "")) == content
