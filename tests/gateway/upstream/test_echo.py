"""The embedded model: what does it answer, and does it look like OpenAI's answer?"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidPrompt
from gateway.exchange import JSON, Call, Completion, Ending, Event, Stream
from gateway.targets import Credential, Model, Provider, Target
from gateway.trace import Trace
from gateway.upstream.echo import MODELS, EchoLane
from gateway.wire.requests import parse_chat_request

IMAGE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TOOLS = {"tools": [WEATHER, CLOCK]}


def call(text: Any = "Hello there", *, model: str = "echo", **fields: Any) -> Call:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    checked, _ = parse_chat_request(orjson.dumps(body))
    return Call(
        id="c",
        body=checked,
        received_at=1_700_000_000.9,
        deadline=math.inf,
        trace=Trace(),
        target=Target(
            provider=Provider(name="echo", kind="echo", lane="echo"),
            model=Model(name=model),
            credential=Credential("none"),
        ),
    )


async def completed(made: Call, lane: EchoLane | None = None) -> Completion:
    reply = await (lane or EchoLane())(made)
    assert isinstance(reply, Completion)
    return reply


async def streamed(made: Call, lane: EchoLane | None = None) -> Stream:
    reply = await (lane or EchoLane())(made.with_(body={**made.body, "stream": True}))
    assert isinstance(reply, Stream)
    return reply


async def chunks(made: Call, lane: EchoLane | None = None) -> list[Event]:
    return [event async for events in await streamed(made, lane) for event in events]


def folded(events: list[Event]) -> list[JSON]:
    """The messages that a client puts together from a stream, with their finish reasons."""
    choices: dict[int, JSON] = {}
    for choice in (choice for event in events for choice in event.data["choices"]):
        made = choices.setdefault(choice["index"], {"message": {}, "finish_reason": None})
        message = made["message"]
        for name, value in choice["delta"].items():
            if name == "tool_calls":
                add_tool_calls(message.setdefault("tool_calls", []), value)
            elif isinstance(message.get(name), str):
                message[name] += value
            else:
                message[name] = value
        made["finish_reason"] = choice["finish_reason"] or made["finish_reason"]
    return [{"index": index, **made, "logprobs": None} for index, made in choices.items()]


def add_tool_calls(calls: list[JSON], pieces: list[JSON]) -> None:
    for piece in pieces:
        if "id" in piece:
            assert piece["index"] == len(calls)
            kept = {key: value for key, value in piece.items() if key != "index"}
            calls.append({**kept, "function": dict(piece["function"])})
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def without_ids(choices: list[JSON]) -> list[JSON]:
    copy: list[JSON] = orjson.loads(orjson.dumps(choices))
    for choice in copy:
        for each in choice["message"].get("tool_calls", ()):
            assert each.pop("id").startswith("call_")
    return copy


async def content(made: Call) -> str:
    (choice,) = (await completed(made)).data["choices"]
    text: str = choice["message"]["content"]
    return text


async def tool_calls(made: Call) -> list[tuple[str, Any]]:
    (choice,) = (await completed(made)).data["choices"]
    calls = choice["message"].get("tool_calls", [])
    assert choice["finish_reason"] == ("tool_calls" if calls else "stop")
    return [(each["function"]["name"], orjson.loads(each["function"]["arguments"]))
            for each in calls]  # fmt: skip


# -------------------------------------------------------------------------- format


async def test_a_completion_has_openais_format() -> None:
    reply = await completed(call("Hello there"))
    data = dict(reply.data)
    assert data.pop("id").startswith("chatcmpl-")
    assert data == {
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "echo",
        "system_fingerprint": "echo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8},
    }
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (6, 2)
    assert reply.usage.source == "provider"


async def test_a_stream_has_openais_format() -> None:
    events = await chunks(call("Hello there"))
    assert len({event.data["id"] for event in events}) == 1
    assert {event.data["object"] for event in events} == {"chat.completion.chunk"}
    assert {event.data["created"] for event in events} == {1_700_000_000}
    *parts, usage = events
    assert [event.data["choices"] for event in parts] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        for delta, reason in [
            ({"role": "assistant", "content": "", "refusal": None}, None),
            ({"content": "Hello"}, None),
            ({"content": " there"}, None),
            ({}, "stop"),
        ]
    ]
    assert usage.data["choices"] == []
    assert usage.data["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}
    assert usage.usage is not None
    assert usage.usage.total_tokens == 8
    assert all(event.usage is None for event in parts)


@pytest.mark.parametrize("asked", [True, False])
async def test_the_usage_field_is_null_for_those_who_asked_for_usage(asked: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": asked}}
    *parts, _ = await chunks(call(**options))
    assert all(("usage" in event.data) is asked for event in parts)


async def test_every_answer_has_its_own_id() -> None:
    lane = EchoLane()
    first, second = await completed(call(), lane), await completed(call(), lane)
    assert first.data["id"] != second.data["id"]


CORPUS = [
    call(""),
    call("   "),
    call("one"),
    call("  Spaces \n\n and\tlines \n"),
    call("Grüße, 世界! 👩‍👩‍👧‍👦 مرحبا e\u0301"),
    call("a" * 100),
    call("several choices", n=3),
    call("cut after three words, please", max_tokens=3),
    call("stop here, not there", stop="here"),
    call([{"type": "text", "text": "What is this?"}, IMAGE]),
    call('call weather {"city": "Paris"}', **TOOLS),
    call('call weather {"city": "Paris"}\ncall clock', **TOOLS, n=2),
    call('call weather {"city": "Paris"}', **TOOLS, max_tokens=2),
    call("x", response_format={"type": "json_object"}),
]


@pytest.mark.parametrize("made", CORPUS, ids=lambda made: repr(made.body["messages"])[:40])
async def test_a_stream_brings_what_the_completion_has(made: Call) -> None:
    events = await chunks(made)
    reply = await completed(made)
    assert without_ids(folded(events)) == without_ids(reply.data["choices"])
    assert events[-1].usage == reply.usage


@given(st.text(), st.none() | st.integers(1, 5))
def test_any_text_comes_back(text: str, limit: int | None) -> None:
    async def check() -> None:
        made = call(text, max_tokens=limit)
        (choice,) = folded(await chunks(made))
        reply = await completed(made)
        assert choice == reply.data["choices"][0]
        if choice["finish_reason"] == "stop":
            assert choice["message"]["content"] == text
        else:
            assert text.startswith(choice["message"]["content"])
            assert reply.usage is not None
            assert reply.usage.completion_tokens == limit

    asyncio.run(check())


# ---------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")], "c"),
        ([("user", "a"), ("assistant", "b")], "a"),
        ([("user", "a"), ("developer", "b")], "a"),
        ([("system", "only")], "only"),
        ([("user", [{"type": "text", "text": "a"}, IMAGE, AUDIO])], "a\n[image]\n[audio]"),
        ([("user", [{"type": "file", "file": {}}, {"type": "new", "text": 5}])], "[file]\n[new]"),
        ([("user", [])], ""),
    ],
)
async def test_it_answers_with_what_the_user_said_last(
    messages: list[tuple[str, Any]], answer: str
) -> None:
    made = call(messages=[{"role": role, "content": said} for role, said in messages])
    assert await content(made) == answer


@pytest.mark.parametrize(
    ("fields", "answer", "reason"),
    [
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_completion_tokens": 1}, "one", "length"),
        ({"max_tokens": 3, "max_completion_tokens": 2}, "one two", "length"),
        ({"max_tokens": 4}, "one two three four", "stop"),
        ({"max_tokens": None}, "one two three four", "stop"),
        ({"stop": "three"}, "one two ", "stop"),
        ({"stop": ["four", " t"]}, "one", "stop"),
        ({"stop": ["", "absent"]}, "one two three four", "stop"),
        ({"stop": "three", "max_tokens": 1}, "one", "length"),
        ({"stop": []}, "one two three four", "stop"),
    ],
)
async def test_an_answer_ends_where_it_is_told_to(
    fields: dict[str, Any], answer: str, reason: str
) -> None:
    (choice,) = (await completed(call("one two three four", **fields))).data["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (answer, reason)


async def test_choices_are_counted() -> None:
    reply = await completed(call("one two", n=3))
    assert [choice["index"] for choice in reply.data["choices"]] == [0, 1, 2]
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 6


async def test_an_answer_without_a_limit_still_has_one() -> None:
    reply = await completed(call("word " * 20_000))
    assert reply.data["choices"][0]["finish_reason"] == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 16_384


# --------------------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("text", "fields", "calls"),
    [
        ('call weather {"city": "Paris"}', {}, [("weather", {"city": "Paris"})]),
        ('Please do this:\n  call weather {"a":{"b":[1]}} \nThanks',
         {}, [("weather", {"a": {"b": [1]}})]),
        ("call weather", {}, [("weather", {"city": "", "days": 1})]),
        ("call clock", {}, [("clock", {})]),
        ('call clock {}\ncall weather {"city":"Rome"}',
         {}, [("clock", {}), ("weather", {"city": "Rome"})]),
        ("call clock {}\ncall weather {}", {"parallel_tool_calls": False}, [("clock", {})]),
        ("call nobody {}", {}, []),
        ("call weather {broken", {}, []),
        ("call weather [1]", {}, []),
        ("recall weather {}", {}, []),
        ("call clock", {"tool_choice": "none"}, []),
        ("call clock", {"tools": []}, []),
        ("What time is it?", {}, []),
        ("What time is it?", {"tool_choice": "auto"}, []),
        ("What time is it?", {"tool_choice": "required"}, [("weather", {"city": "", "days": 1})]),
        ("call clock", {"tool_choice": "required"}, [("clock", {})]),
        ("hi", {"tool_choice": {"type": "function", "function": {"name": "clock"}}},
         [("clock", {})]),
        ('call clock {}\ncall weather {"city":"Rome"}',
         {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
         [("weather", {"city": "Rome"})]),
        ("hi", {"tool_choice": {"type": "function", "function": {"name": "nobody"}}}, []),
        ("hi", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, []),
        ("call clock\n" * 100, {}, [("clock", {})] * 16),
    ],
)  # fmt: skip
async def test_it_calls_the_tools_that_it_is_told_to(
    text: str, fields: dict[str, Any], calls: list[tuple[str, Any]]
) -> None:
    assert await tool_calls(call(text, **{**TOOLS, **fields})) == calls


async def test_arguments_are_passed_as_they_were_written() -> None:
    reply = await completed(call('call clock {"a" : 1.0,  "ä":"\\u00e4"}', **TOOLS))
    (made,) = reply.data["choices"][0]["message"]["tool_calls"]
    assert made["function"]["arguments"] == '{"a" : 1.0,  "ä":"\\u00e4"}'
    assert made["type"] == "function"
    assert reply.data["choices"][0]["message"]["content"] is None


async def test_a_streamed_call_starts_with_its_name_and_continues_with_arguments() -> None:
    events = await chunks(call('call weather {"city": "Marseille"}\ncall clock {}', **TOOLS))
    deltas = [event.data["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    pieces = [delta["tool_calls"][0] for delta in deltas[1:-1]]
    assert [piece["index"] for piece in pieces] == [0, 0, 0, 0, 1, 1]
    assert [piece["function"].get("name") for piece in pieces] == (
        ["weather", None, None, None, "clock", None]
    )
    assert ["id" in piece for piece in pieces] == [True, False, False, False, True, False]
    assert events[-2].data["choices"][0]["finish_reason"] == "tool_calls"


async def test_results_of_tools_are_its_answer() -> None:
    asked = call('call weather {"city": "Paris"}\ncall clock', **TOOLS)
    message = (await completed(asked)).data["choices"][0]["message"]
    results = [
        {"role": "tool", "tool_call_id": made["id"], "content": result}
        for made, result in zip(message["tool_calls"], ["sunny", "noon"], strict=True)
    ]
    messages = [*asked.body["messages"], message, *results]
    assert await content(call(messages=messages, **TOOLS, tool_choice="required")) == "sunny\nnoon"


# ---------------------------------------------------------------- structured answers


async def test_a_schema_is_answered_with_an_instance() -> None:
    schema = WEATHER["function"]["parameters"]  # type: ignore[index]  # a literal above
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert orjson.loads(await content(call(response_format=wanted))) == {"city": "", "days": 1}


@pytest.mark.parametrize(
    ("text", "answer"), [("hi", {"echo": "hi"}), ('{"a": 1}', {"a": 1}), ("[1]", {"echo": "[1]"})]
)
async def test_a_json_object_is_an_object(text: str, answer: JSON) -> None:
    made = call(text, response_format={"type": "json_object"})
    assert orjson.loads(await content(made)) == answer


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": ["a", "b", "c", "d", "e"]},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"enum": ["x" * 40_000]}},
            }
        },
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"a": "x" * 40_000}}}
            ],
            "tool_choice": "required",
        },
    ],
)
async def test_what_is_beyond_its_limits_is_refused(fields: dict[str, Any]) -> None:
    for stream in (False, True):
        with pytest.raises(InvalidPrompt):
            await EchoLane()(call(stream=stream, **fields))


# --------------------------------------------------------------------------- pacing


async def test_the_slow_model_takes_its_time() -> None:
    assert MODELS == ("echo", "echo-slow")
    lane = EchoLane(words_per_s=200)
    for ask in (completed, chunks):
        began = time.perf_counter()
        await ask(call("one two three four", model="echo-slow"), lane)
        assert time.perf_counter() - began >= 4 / 200


async def test_the_fast_model_gives_way_to_others_between_events() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    events = await chunks(call("word " * 50))
    task.cancel()
    assert others >= len(events) - 1


async def test_a_waiting_stream_is_closed_at_once() -> None:
    ended: list[Ending] = []

    async def note(ending: Ending) -> None:
        ended.append(ending)

    stream = await streamed(call("one two", model="echo-slow"), EchoLane(words_per_s=0.001))
    stream.on_close(note)
    await anext(stream)
    reader = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await reader
    assert ended == [Ending("abandoned")]


async def test_a_cancelled_call_does_not_go_on_waiting() -> None:
    lane = EchoLane(words_per_s=0.001)
    task = asyncio.create_task(completed(call(model="echo-slow"), lane))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await lane.aclose()
