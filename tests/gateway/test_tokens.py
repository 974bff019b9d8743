"""Tokens: estimates are near, bounds are never below, and base64 is not text."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from functools import cache
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.targets import Model
from gateway.tokens import (
    bound_completion_tokens,
    bound_prompt_tokens,
    estimate_prompt_tokens,
    estimate_text_tokens,
)


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages)} | more


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def image(detail: str = "auto") -> dict[str, Any]:
    data = "data:image/png;base64," + "iVBORw0KGgo" * 50_000
    return {"type": "image_url", "image_url": {"url": data, "detail": detail}}


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place, now or at a given day of the coming week.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "day": {"enum": ["mon", "tue"]}},
            "required": ["place"],
        },
    },
}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("日本語", 2),
        ("日本語日本語", 4),
        ("abcd日本語", 3),
        ("x" * 4000, 1000),
    ],
)
def test_text_counts_by_characters(text: str, tokens: int) -> None:
    assert estimate_text_tokens(text) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog, and then it does so again. " * 20,
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 20,
        "def chain(policies, last):\n    for policy in reversed(policies):\n        yield policy\n",
    ],
)
def test_an_estimate_is_within_a_factor_of_two_of_a_tokenizer(text: str) -> None:
    exact = len(encoding().encode(text))
    assert exact / 2 <= estimate_text_tokens(text) <= exact * 2


@cache
def encoding() -> tiktoken.Encoding:
    # The tables that litellm's wheel brings: tiktoken would download its own.
    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations
    tables = f"{spec.submodule_search_locations[0]}/litellm_core_utils/tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = tables
    return tiktoken.get_encoding("o200k_base")


def test_a_prompt_counts_messages_names_calls_and_tools() -> None:
    plain = estimate_prompt_tokens(body(user("How are you?")))
    assert 8 <= plain <= 16
    named = user("How are you?") | {"name": "somebody with a long name"}
    assert estimate_prompt_tokens(body(named)) > plain
    assert estimate_prompt_tokens(body(user("How are you?"), user(""))) > plain
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"place": "Oslo"}'}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert estimate_prompt_tokens(body(user("How are you?"), answer)) > plain + 10
    assert estimate_prompt_tokens(body(user("How are you?"), tools=[TOOL])) > plain + 40
    schema = {"type": "json_schema", "json_schema": {"schema": TOOL}}
    assert estimate_prompt_tokens(body(user("How are you?"), response_format=schema)) > plain + 40


def test_media_count_by_figures_and_never_as_text() -> None:
    nothing = estimate_prompt_tokens(body(user([])))
    assert estimate_prompt_tokens(body(user([image()]))) == nothing + 765
    assert estimate_prompt_tokens(body(user([image("low")]))) == nothing + 85
    file = {"type": "file", "file": {"file_data": "JVBERi0" * 100_000}}
    assert estimate_prompt_tokens(body(user([file]))) == nothing + 3000
    strange = {"type": "video", "source": {"data": "AAAA" * 100_000}}
    assert estimate_prompt_tokens(body(user([strange]))) == nothing + 3000
    audio = {"type": "input_audio", "input_audio": {"data": "UklG" * 2500, "format": "wav"}}
    assert estimate_prompt_tokens(body(user([audio]))) == nothing + 10
    spoken = {"role": "assistant", "audio": {"id": "audio_1"}}
    assert estimate_prompt_tokens(body(user([]), spoken)) > nothing + 3000


def test_text_parts_count_as_text() -> None:
    parts = [{"type": "text", "text": "abcd" * 100}, {"type": "refusal", "refusal": "abcd" * 10}]
    nothing = estimate_prompt_tokens(body(user([])))
    assert estimate_prompt_tokens(body(user(parts))) == nothing + 110
    assert bound_prompt_tokens(body(user(parts))) == bound_prompt_tokens(body(user([]))) + 440


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"messages": None},
        {"messages": [None, "text", {"content": 5}, {"role": 7}]},
        {"messages": [{"content": [None, "x", {"type": None}, {"type": "text", "text": None}]}]},
        {"messages": [{"content": [{"type": "input_audio"}, {"type": "image_url"}]}]},
        {"messages": [], "tools": [None, 1, [[]]]},
    ],
)
def test_a_body_of_no_sense_is_counted_without_fault(request_body: dict[str, Any]) -> None:
    assert 0 < estimate_prompt_tokens(request_body) <= bound_prompt_tokens(request_body)


TEXTS = st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.lists(TEXTS, max_size=5), JSON)
def test_a_bound_is_no_lower_than_the_estimate_nor_than_a_tokenizer(
    texts: list[str], tool: Any
) -> None:
    request = body(*map(user, texts), tools=[tool])
    bound = bound_prompt_tokens(request)
    assert bound >= estimate_prompt_tokens(request)
    assert bound >= sum(len(encoding().encode(text)) + 5 for text in texts)


def test_a_tools_bound_holds_for_json_written_with_indentation() -> None:
    request = body(user(""), tools=[TOOL] * 5)
    written = json.dumps(request["tools"], indent=4, ensure_ascii=True)
    assert bound_prompt_tokens(request) >= len(written)


@pytest.mark.parametrize(
    ("request_body", "model", "tokens"),
    [
        ({"max_completion_tokens": 100}, Model(name="m"), 100),
        ({"max_tokens": 50}, Model(name="m", max_completion_tokens=4096), 50),
        ({"max_completion_tokens": 100, "max_tokens": 50, "n": 3}, Model(name="m"), 300),
        # Servers know one name or the other: which of the two will be obeyed nobody can say.
        ({"max_completion_tokens": 1, "max_tokens": 50}, Model(name="m"), 50),
        # What is chosen from is generated, and may be charged.
        ({"max_tokens": 50, "best_of": 4}, Model(name="m"), 200),
        ({"max_tokens": 50, "n": 2, "best_of": "many"}, Model(name="m"), 100),
        ({"n": 2}, Model(name="m", max_completion_tokens=4096), 8192),
        ({"n": None}, Model(name="m", context_window=8192), 8192),
        ({}, Model(name="m"), None),
        (
            {"max_tokens": 10, "prediction": {"type": "content", "content": "x" * 90}},
            Model(name="m"),
            100,
        ),
        ({"max_tokens": 2**63 - 1, "n": 128}, Model(name="m"), 10**9),
    ],
)
def test_a_completion_is_bounded_by_the_caller_or_the_model(
    request_body: dict[str, Any], model: Model, tokens: int | None
) -> None:
    assert bound_completion_tokens(request_body, model) == tokens


def test_a_large_body_is_counted_at_once() -> None:
    request = body(*(user("日本語 and more " * 1000) for _ in range(100)), tools=[TOOL] * 100)
    began = time.perf_counter()
    estimate_prompt_tokens(request)
    bound_prompt_tokens(request)
    assert time.perf_counter() - began < 0.5
