"""Counting: near the provider's own count, rather too many than too few, and never in the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway.config import Context
from gateway.counting import Measure, PromptTokens, count_prompt
from gateway.targets import Model

# OpenAI cookbook, "How to count tokens with tiktoken", section 6: the example and the API's own
# counts, 129 for gpt-4-0613 and 124 for gpt-4o.
JARGON: list[dict[str, Any]] = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate "
        "jargon into plain English.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "New synergies will help drive top-line growth.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities "
        "for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client "
        "deliverable.",
    },
]
# The same, section 7: 105 for gpt-4 and 101 for gpt-4o.
WEATHER: list[dict[str, Any]] = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {
                    "type": "string",
                    "description": "The city and state, e.g. San Francisco, CA",
                },
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}


def measure(**known: Any) -> Measure:
    return Measure.of(Model(**{"name": "m", **known}), Context())


async def count(
    messages: list[dict[str, Any]],
    *,
    by: Measure,
    window: int = 128_000,
    bound: int = 1_000,
    **more: Any,
) -> PromptTokens:
    return await count_prompt({"messages": messages, **more}, by, window=window, bound=bound)


O200K, CL100K = measure(tokenizer="o200k_base"), measure(tokenizer="cl100k_base")


@pytest.mark.parametrize(
    ("by", "messages", "more", "documented"),
    [
        (CL100K, JARGON, {}, 129),
        (O200K, JARGON, {}, 124),
        (CL100K, WEATHER, {"tools": [WEATHER_TOOL]}, 105),
        (O200K, WEATHER, {"tools": [WEATHER_TOOL]}, 101),
        (O200K, WEATHER, {"functions": [WEATHER_TOOL["function"]]}, 101),
    ],
)
async def test_a_count_is_openais_own_within_two_per_cent(
    by: Measure, messages: list[dict[str, Any]], more: dict[str, Any], documented: int
) -> None:
    found = (await count(messages, by=by, **more)).total
    assert abs(found - documented) <= 0.02 * documented
    assert found >= documented


async def test_each_message_has_its_own_count() -> None:
    tokens = await count(JARGON, by=O200K)
    assert len(tokens.messages) == len(JARGON)
    assert tokens.fixed == 3
    assert tokens.of([0, 5]) == 3 + tokens.messages[0] + tokens.messages[5]
    assert tokens.of(range(len(JARGON))) == tokens.total


@pytest.mark.parametrize("by", [O200K, measure()])
async def test_all_that_a_message_has_is_counted(by: Measure) -> None:
    plain = {"role": "assistant", "content": "I look it up."}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}}
    richer: list[dict[str, Any]] = [
        {"name": "somebody"},
        {"tool_calls": [call]},
        {"tool_calls": [call, call]},
        {"function_call": call["function"]},
        {"reasoning_content": "Let me think about it."},
        {"thinking_blocks": [{"thinking": "Let me think."}]},
        {"refusal": "I will not."},
        {"audio": {"id": "audio_1"}},
        {"content": [{"type": "text", "text": "I look it up, and then I tell you."}]},
    ]
    (least,) = (await count([plain], by=by)).messages
    for more in richer:
        (found,) = (await count([plain | more], by=by)).messages
        assert found > least, more


@pytest.mark.parametrize(
    ("name", "detail", "tokens"),
    [
        ("gpt-4o", "low", 85),
        ("gpt-4o", "high", 1_600),
        ("gpt-4o-mini", "low", 2_833),
        ("gpt-4o-mini-2024-07-18", "auto", 48_169),
        ("claude-sonnet-4-5", "auto", 1_600),
    ],
)
async def test_an_image_counts_as_much_as_it_can_be(name: str, detail: str, tokens: int) -> None:
    by = Measure.of(Model(name=name), Context())
    image = {"type": "image_url", "image_url": {"url": "data:," + "A" * 10**6, "detail": detail}}
    empty = (await count([{"role": "user", "content": []}], by=by)).total
    seen = await count([{"role": "user", "content": [image]}], by=by)
    assert seen.total - empty == tokens
    assert seen.least < 100, "what an image counts is never sure"


async def test_sound_and_files_count_by_figures() -> None:
    by = measure()
    empty = (await count([{"role": "user", "content": []}], by=by)).total
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 16_000, "format": "mp3"}}
    file = {"type": "file", "file": {"file_id": "file-1"}}
    assert (await count([{"role": "user", "content": [sound]}], by=by)).total - empty == 100
    assert (await count([{"role": "user", "content": [file]}], by=by)).total - empty == 3_000


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("x" * 300, 100),
        ("吾輩は猫である" * 30, 140),
        ("猫 cat " * 30, 120),  # mixed
        ("It\u2019s a cat. " * 50, 550 / 3 + 50 / 1.5),  # one curly quote makes no mixed text
    ],
)
async def test_other_models_count_by_characters(text: str, tokens: float) -> None:
    by = measure()
    empty = (await count([{"role": "user", "content": ""}], by=by)).total
    found = (await count([{"role": "user", "content": text}], by=by)).total
    assert found - empty == -(-tokens // 1)


async def test_the_ratio_can_be_configured_for_a_model_and_for_all() -> None:
    messages = [{"role": "user", "content": "x" * 1_200}]
    dense = Measure.of(Model(name="m", characters_per_token=1.0), Context())
    loose = Measure.of(Model(name="m"), Context(characters_per_token=6.0))
    assert (await count(messages, by=dense)).total > 1_200
    assert (await count(messages, by=loose)).total < 300


async def test_tools_and_an_answers_form_are_counted_for_all() -> None:
    for by in (O200K, measure()):
        plain = (await count(WEATHER, by=by)).total
        tools = (await count(WEATHER, by=by, tools=[WEATHER_TOOL])).total
        form = {"type": "json_schema", "json_schema": {"schema": WEATHER_TOOL}}
        assert tools > plain + 40
        assert (await count(WEATHER, by=by, response_format=form)).total > plain + 40
        assert (await count(WEATHER, by=by, response_format={"type": "text"})).total == plain


async def test_what_is_nested_in_a_tool_is_counted() -> None:
    def tool(**more: Any) -> dict[str, Any]:
        place = {"type": "object", "properties": {"city": {"type": "string", **more}}}
        function = {"name": "f", "parameters": {"type": "object", "properties": {"p": place}}}
        return {"type": "function", "function": function}

    plain = (await count(WEATHER, by=O200K, tools=[tool()])).total
    described = (await count(WEATHER, by=O200K, tools=[tool(description="a b c d")])).total
    listed = (await count(WEATHER, by=O200K, tools=[tool(anyOf=[{"type": "null"}])])).total
    assert described > plain
    assert listed > plain
    odd = [{"type": "custom", "custom": {"name": "g"}}, {"type": "function", "function": {}}]
    assert (await count(WEATHER, by=O200K, tools=odd)).total > plain - 100
    broken = {"name": "f", "parameters": {"properties": {"p": True}}}
    assert (await count(WEATHER, by=O200K, functions=[broken])).total > 0


async def test_what_cannot_fit_anyway_is_not_counted_one_by_one() -> None:
    """The newest and the oldest messages are, since those are what stays."""
    long = {"role": "user", "content": "a b c " * 3_000}
    messages = [long, {"role": "user", "content": "hello"}, *[long] * 50, long]
    tokens = await count(messages, by=O200K, window=4_000, bound=10**6)
    assert tokens.messages[-1] == tokens.messages[0] < 10_000
    assert tokens.messages[25] >= 18_000, "a token per byte"
    assert tokens.messages[1] < 10
    assert tokens.least <= 16 * 4_000


async def test_a_megabyte_of_one_character_holds_up_nobody() -> None:
    messages = [{"role": "user", "content": "a" * 1_000_000}]
    await count(WEATHER, by=O200K, bound=10**6)  # the encoding is there when a process is ready
    longest = 0.0

    async def heartbeat() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)

    beating = asyncio.create_task(heartbeat())
    counting = asyncio.create_task(count(messages, by=O200K, window=10**6, bound=10**6))
    others = 0
    while not counting.done():
        small = await count(WEATHER, by=O200K)
        assert small.total < 50
        others += 1
        await asyncio.sleep(0)
    beating.cancel()
    assert 125_000 <= (await counting).total < 128_000
    assert others > 3
    assert longest < 0.25, "50 ms on a machine of its own"
