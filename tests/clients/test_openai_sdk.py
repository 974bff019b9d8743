"""The official Python SDK against a running gateway, as unchanged programs use it.

These files run under the SDK of requirements-dev.lock and, through test_newest_sdk.py, under the
newest one: nothing here may depend on either.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.gateway_process import GatewayProcess

_TEXT = 'Grüße, 世界 🌍! Two\nlines and \\ a "quote".'
_WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
_CALL = 'call get_weather {"city": "Zürich"}'
_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def user(content: Any = _TEXT) -> Any:
    return [{"role": "user", "content": content}]


def test_a_plain_call_answers_with_usage(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=user())
    assert answer.choices[0].message.content == _TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )


async def test_the_async_client_answers_many_at_once(async_client: AsyncOpenAI) -> None:
    texts = [f"number {number}" for number in range(20)]
    answers = await asyncio.gather(
        *(async_client.chat.completions.create(model="echo", messages=user(t)) for t in texts)
    )
    assert [answer.choices[0].message.content for answer in answers] == texts
    assert len({answer.id for answer in answers}) == 20


def test_a_stream_has_one_id_one_role_and_one_ending(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="echo", messages=user(), stream=True)
    with stream:
        chunks = list(stream)
    choices = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.delta.content or "" for choice in choices) == _TEXT
    assert len(chunks) > 5
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.finish_reason for c in choices if c.finish_reason] == ["stop"]
    assert choices[-1].finish_reason == "stop"


async def test_the_async_client_streams(async_client: AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(model="echo", messages=user(), stream=True)
    async with stream:
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(texts) == _TEXT


@pytest.mark.parametrize("asked", [True, False])
def test_a_streams_usage_comes_only_when_asked_for(client: OpenAI, asked: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asked else {}
    with client.chat.completions.create(
        model="echo", messages=user(), stream=True, **options
    ) as stream:
        chunks = list(stream)
    assert [chunk.usage is not None for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)
    last = chunks[-1]
    assert (last.usage is not None) is asked
    assert (last.choices == []) is asked


def test_the_stream_helper_tells_events_and_the_final_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="echo", messages=user(), stream_options={"include_usage": True}
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta"]
    assert "".join(deltas) == _TEXT
    assert [event.content for event in events if event.type == "content.done"] == [_TEXT]
    assert final.choices[0].message.content == _TEXT
    assert final.usage
    assert final.usage.completion_tokens == len([delta for delta in deltas if delta])


async def test_the_async_stream_helper_gathers_tool_calls(async_client: AsyncOpenAI) -> None:
    function = _WEATHER["function"]
    schema = {**function["parameters"], "additionalProperties": False}
    strict: Any = {**_WEATHER, "function": {**function, "strict": True, "parameters": schema}}
    async with async_client.chat.completions.stream(
        model="echo", messages=user(_CALL), tools=[strict]
    ) as stream:
        done = [e async for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = await stream.get_final_completion()
    assert [(event.name, event.parsed_arguments) for event in done] == [
        ("get_weather", {"city": "Zürich"})
    ]
    assert final.choices[0].finish_reason == "tool_calls"


def test_tools_make_the_full_round_trip(client: OpenAI) -> None:
    messages = user(_CALL)
    asked = client.chat.completions.create(model="echo", messages=messages, tools=[_WEATHER])
    message = asked.choices[0].message
    assert asked.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls
    (call,) = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Zürich"}

    messages.append(message)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "12 °C, foehn"})
    told = client.chat.completions.create(model="echo", messages=messages, tools=[_WEATHER])
    assert told.choices[0].finish_reason == "stop"
    assert "12 °C, foehn" in (told.choices[0].message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_keep_index_id_and_arguments(client: OpenAI, stream: bool) -> None:
    messages = user(f'{_CALL}\ncall get_weather {{"city": "Genève"}}')
    if stream:
        calls = _streamed_calls(client, messages)
    else:
        answer = client.chat.completions.create(model="echo", messages=messages, tools=[_WEATHER])
        calls = [
            (call.id, call.function.name, call.function.arguments)
            for call in answer.choices[0].message.tool_calls or []
            if call.type == "function"
        ]
    assert len({call_id for call_id, _, _ in calls}) == 2
    assert [name for _, name, _ in calls] == ["get_weather"] * 2
    cities = [json.loads(arguments)["city"] for _, _, arguments in calls]
    assert cities == ["Zürich", "Genève"]


def _streamed_calls(client: OpenAI, messages: Any) -> list[tuple[str, str, str]]:
    found: dict[int, tuple[str, str, str]] = {}
    with client.chat.completions.create(
        model="echo", messages=messages, tools=[_WEATHER], stream=True
    ) as chunks:
        for chunk in chunks:
            for piece in chunk.choices[0].delta.tool_calls or []:
                before = found.get(piece.index, ("", "", ""))
                assert piece.function
                found[piece.index] = (
                    before[0] + (piece.id or ""),
                    before[1] + (piece.function.name or ""),
                    before[2] + (piece.function.arguments or ""),
                )
    return [found[index] for index in sorted(found)]


class Step(BaseModel):
    explanation: str
    kind: Literal["add", "carry"]


class Solution(BaseModel):
    steps: list[Step]
    answer: int


def test_an_answer_is_parsed_by_its_json_schema(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="echo", messages=user("2 + 2?"), response_format=Solution
    )
    assert isinstance(answer.choices[0].message.parsed, Solution)


async def test_a_stream_is_parsed_by_its_json_schema(async_client: AsyncOpenAI) -> None:
    async with async_client.chat.completions.stream(
        model="echo", messages=user("2 + 2?"), response_format=Solution
    ) as stream:
        final = await stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Solution)


def test_images_are_content_parts(client: OpenAI) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PIXEL}"}},
    ]
    answer = client.chat.completions.create(model="echo", messages=user(parts))
    assert "What is this?" in (answer.choices[0].message.content or "")
    assert "[image]" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_n_choices_are_told_apart(client: OpenAI, stream: bool) -> None:
    texts = ["", ""]
    if stream:
        with client.chat.completions.create(
            model="echo", messages=user(), n=2, stream=True
        ) as chunks:
            for choice in (choice for chunk in chunks for choice in chunk.choices):
                texts[choice.index] += choice.delta.content or ""
    else:
        answer = client.chat.completions.create(model="echo", messages=user(), n=2)
        for whole in answer.choices:
            texts[whole.index] += whole.message.content or ""
    assert texts == [_TEXT, _TEXT]


def test_max_tokens_ends_an_answer_by_its_length(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="echo", messages=user("one two three four"), max_completion_tokens=2
    )
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "length"


def test_raw_responses_carry_the_gateways_headers(
    client: OpenAI, echo_gateway: GatewayProcess
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="echo", messages=user(), extra_headers={"x-sluice-tags": "nightly, sdk"}
    )
    call_id = raw.headers["x-sluice-call-id"]
    assert raw.request_id == raw.headers["x-request-id"] == call_id
    assert raw.headers["x-sluice-provider"] == "echo"
    assert raw.headers["x-sluice-model"] == "echo"
    assert raw.headers["x-sluice-attempts"] == "1"
    assert float(raw.headers["x-sluice-overhead-ms"]) >= 0
    answer = raw.parse()
    assert answer.choices[0].message.content == _TEXT
    call, (charge,) = echo_gateway.ledger.wait_for(call_id)
    assert (call["status"], call["asked_model"], call["stream"]) == (200, "echo", 0)
    assert json.loads(call["tags"]) == ["nightly", "sdk"]
    assert answer.usage
    assert charge["completion_tokens"] == answer.usage.completion_tokens


def test_a_stream_without_usage_stands_in_the_ledger_with_it(
    client: OpenAI, echo_gateway: GatewayProcess
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="echo", messages=user("one two three"), stream=True
    )
    with raw.parse() as stream:
        assert all(chunk.usage is None for chunk in stream)
    call, (charge,) = echo_gateway.ledger.wait_for(raw.headers["x-sluice-call-id"])
    assert call["stream"] == 1
    assert (charge["state"], charge["source"]) == ("settled", "provider")
    assert charge["completion_tokens"] == 3


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    listed = client.models.list().data
    assert "echo/echo" in [model.id for model in listed]
    assert {model.object for model in listed} == {"model"}
    for model in listed:
        assert client.models.retrieve(model.id).id == model.id
    assert client.models.retrieve("echo").object == "model"


def test_sluice_controls_go_through_extra_body(
    client: OpenAI, echo_gateway: GatewayProcess
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="echo", messages=user(), extra_body={"sluice": {"tags": ["from-body"]}}
    )
    call, _ = echo_gateway.ledger.wait_for(raw.headers["x-sluice-call-id"])
    assert json.loads(call["tags"]) == ["from-body"]


@pytest.mark.parametrize("name", ["x-api-key", "api-key"])
def test_a_key_may_stand_in_another_header(
    client: OpenAI, echo_gateway: GatewayProcess, name: str
) -> None:
    headers: Any = {"Authorization": openai.omit, name: echo_gateway.key}
    stranger = client.with_options(api_key="unused")
    answer = stranger.chat.completions.create(model="echo", messages=user(), extra_headers=headers)
    assert answer.choices[0].message.content == _TEXT
