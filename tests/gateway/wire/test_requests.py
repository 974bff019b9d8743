"""Chat completion requests: what is accepted, and how is the rest refused?"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.wire.requests import parse_chat_request, requested_capabilities

USER = {"role": "user", "content": "Hello"}
MISSING = object()


def body(**fields: Any) -> dict[str, Any]:
    made = {"model": "echo", "messages": [USER], **fields}
    return {name: value for name, value in made.items() if value is not MISSING}


def with_message(**message: Any) -> dict[str, Any]:
    return body(messages=[USER, message])


def with_part(part: Any) -> dict[str, Any]:
    return with_message(role="user", content=[{"type": "text", "text": "x"}, part])


def with_tool_call(call: Any) -> dict[str, Any]:
    return with_message(role="assistant", content=None, tool_calls=[call])


def parse(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return parse_chat_request(orjson.dumps(value))


def refusal(value: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(value)
    return caught.value


FUNCTION_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "accepted",
    [
        body(),
        body(messages=[{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}]),
        with_message(role="user", content="x", name="Ann"),
        with_message(role="user", content=[]),
        with_message(role="user", content=None, unknown=1) | {"messages": [USER]},
        with_part({"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}),
        with_part({"type": "image_url", "image_url": {"url": "https://x.test", "extra": 1}}),
        with_part({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        with_part({"type": "file", "file": {"file_id": "f"}}),
        with_part({"type": "something_new", "anything": [1, 2]}),
        with_part({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}),
        with_message(role="assistant", content=[{"type": "refusal", "refusal": "no"}]),
        with_message(role="assistant", refusal="no"),
        with_message(role="assistant", content=None, reasoning_content="hm"),
        with_message(role="assistant", content=None, audio={"id": "a"}),
        with_message(role="assistant", content=None, function_call=CALL["function"]),
        with_message(role="assistant", content="x", tool_calls=None, audio=None, refusal=None),
        with_tool_call(CALL),
        with_tool_call({"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}),
        with_tool_call({"id": "c", "type": "something_new", "x": {}}),
        with_message(role="tool", content="4", tool_call_id="c1"),
        with_message(role="tool", content=[{"type": "text", "text": "4"}], tool_call_id="c1"),
        with_message(role="function", name="f", content=None),
        body(temperature=0, top_p=1.0, presence_penalty=-2, frequency_penalty=0.5),
        body(n=1),
        body(n=128),
        body(max_tokens=1, max_completion_tokens=2**63 - 1),
        body(stop="x"),
        body(stop=["a", "b", "c", "d", "e"]),
        body(stop=[]),
        body(tools=[FUNCTION_TOOL], tool_choice="auto", parallel_tool_calls=False),
        body(tools=[FUNCTION_TOOL], tool_choice={"type": "function", "function": {"name": "f"}}),
        body(tools=[{"type": "custom", "custom": {"name": "g"}}, {"type": "web_search"}]),
        body(functions=[{"name": "f"}], function_call={"name": "f"}),
        body(function_call="auto"),
        body(response_format={"type": "text"}),
        body(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}),
        body(logprobs=True, top_logprobs=5, logit_bias={"50256": -100, "1": 0.5}, seed=-1),
        body(user="u", metadata={"a": "b"}, modalities=["text", "audio"], audio={"voice": "x"}),
        body(reasoning_effort="low", service_tier="flex", store=True, verbosity="low"),
        body(prediction={"type": "content", "content": "x"}, web_search_options={}),
        body(stream=True, stream_options={"include_usage": True, "extra": 1}),
        body(stream=False, stream_options=None),
        body(unknown_field={"kept": [1, None, {"deep": "er"}]}, top_k=5, guided_json={}),
        body(
            **dict.fromkeys(["temperature", "top_p", "n", "stop", "stream", "seed", "user"]),
            **dict.fromkeys(["tools", "tool_choice", "functions", "response_format", "logprobs"]),
            **dict.fromkeys(["max_tokens", "metadata", "modalities", "audio", "prediction"]),
        ),
    ],
)
def test_a_request_is_returned_as_it_was_written(accepted: dict[str, Any]) -> None:
    assert parse(accepted) == (accepted, {})


@pytest.mark.parametrize(
    ("refused", "param", "code"),
    [
        # the document
        ([], None, "invalid_type"),
        ("text", None, "invalid_type"),
        (None, None, "invalid_type"),
        (1.5, None, "invalid_type"),
        ({}, "model", "missing_required_parameter"),
        # the model
        (body(model=MISSING), "model", "missing_required_parameter"),
        (body(model=None), "model", "invalid_type"),
        (body(model=1), "model", "invalid_type"),
        (body(model=["echo"]), "model", "invalid_type"),
        (body(model=""), "model", "empty_string"),
        (body(model="  "), "model", "empty_string"),
        (body(model="x" * 257), "model", "string_above_max_length"),
        (body(model="a\nb"), "model", "invalid_value"),
        (body(model="a\x00"), "model", "invalid_value"),
        (body(model="a\x7f"), "model", "invalid_value"),
        (body(model="a\u2028"), "model", "invalid_value"),
        # messages
        (body(messages=MISSING), "messages", "missing_required_parameter"),
        (body(messages=None), "messages", "invalid_type"),
        (body(messages=[]), "messages", "empty_array"),
        (body(messages={}), "messages", "invalid_type"),
        (body(messages="hi"), "messages", "invalid_type"),
        (body(messages=["hi"]), "messages[0]", "invalid_type"),
        (body(messages=[None]), "messages[0]", "invalid_type"),
        (body(messages=[USER, []]), "messages[1]", "invalid_type"),
        (with_message(content="x"), "messages[1].role", "missing_required_parameter"),
        (with_message(role=None, content="x"), "messages[1].role", "invalid_type"),
        (with_message(role=["user"], content="x"), "messages[1].role", "invalid_type"),
        (with_message(role={}, content="x"), "messages[1].role", "invalid_type"),
        (with_message(role="bot", content="x"), "messages[1].role", "invalid_value"),
        (with_message(role="user"), "messages[1].content", "missing_required_parameter"),
        (with_message(role="user", content=None), "messages[1].content", "invalid_type"),
        (with_message(role="user", content=1), "messages[1].content", "invalid_type"),
        (with_message(role="user", content={}), "messages[1].content", "invalid_type"),
        (with_message(role="user", content=True), "messages[1].content", "invalid_type"),
        (with_message(role="user", content="x", name=1), "messages[1].name", "invalid_type"),
        (with_message(role="assistant"), "messages[1].content", "invalid_value"),
        (with_message(role="assistant", content=None), "messages[1].content", "invalid_value"),
        (
            with_message(role="assistant", content=None, tool_calls=None, name="x"),
            "messages[1].content",
            "invalid_value",
        ),
        (
            with_message(role="tool", content="x"),
            "messages[1].tool_call_id",
            "missing_required_parameter",
        ),
        (
            with_message(role="tool", content="x", tool_call_id=None),
            "messages[1].tool_call_id",
            "invalid_type",
        ),
        (
            with_message(role="function", content="x"),
            "messages[1].name",
            "missing_required_parameter",
        ),
        # parts
        (with_part("x"), "messages[1].content[1]", "invalid_type"),
        (with_part(None), "messages[1].content[1]", "invalid_type"),
        (with_part({"text": "x"}), "messages[1].content[1].type", "missing_required_parameter"),
        (with_part({"type": 1}), "messages[1].content[1].type", "invalid_type"),
        (with_part({"type": {"a": 1}}), "messages[1].content[1].type", "invalid_type"),
        (with_part({"type": "text"}), "messages[1].content[1].text", "missing_required_parameter"),
        (
            with_part({"type": "text", "text": None}),
            "messages[1].content[1].text",
            "invalid_type",
        ),
        (
            with_part({"type": "image_url", "image_url": "https://x.test"}),
            "messages[1].content[1].image_url",
            "invalid_type",
        ),
        (
            with_part({"type": "image_url", "image_url": {"url": 1}}),
            "messages[1].content[1].image_url.url",
            "invalid_type",
        ),
        (
            with_part({"type": "image_url", "image_url": {"url": "x", "detail": 1}}),
            "messages[1].content[1].image_url.detail",
            "invalid_type",
        ),
        (
            with_part({"type": "input_audio", "input_audio": {"data": "x"}}),
            "messages[1].content[1].input_audio.format",
            "missing_required_parameter",
        ),
        (
            with_part({"type": "file", "file": "x"}),
            "messages[1].content[1].file",
            "invalid_type",
        ),
        # tool calls
        (
            with_message(role="assistant", tool_calls={}),
            "messages[1].tool_calls",
            "invalid_type",
        ),
        (with_tool_call("f"), "messages[1].tool_calls[0]", "invalid_type"),
        (
            with_tool_call({k: v for k, v in CALL.items() if k != "id"}),
            "messages[1].tool_calls[0].id",
            "missing_required_parameter",
        ),
        (
            with_tool_call({k: v for k, v in CALL.items() if k != "type"}),
            "messages[1].tool_calls[0].type",
            "missing_required_parameter",
        ),
        (
            with_tool_call(CALL | {"function": {"name": "f", "arguments": {}}}),
            "messages[1].tool_calls[0].function.arguments",
            "invalid_type",
        ),
        (
            with_tool_call(CALL | {"function": {"arguments": "{}"}}),
            "messages[1].tool_calls[0].function.name",
            "missing_required_parameter",
        ),
        (
            with_tool_call({"id": "c", "type": "custom", "custom": {"name": "f"}}),
            "messages[1].tool_calls[0].custom.input",
            "missing_required_parameter",
        ),
        # settings
        (body(stream="true"), "stream", "invalid_type"),
        (body(stream=1), "stream", "invalid_type"),
        (body(stream=True, stream_options=True), "stream_options", "invalid_type"),
        (
            body(stream=True, stream_options={"include_usage": "yes"}),
            "stream_options.include_usage",
            "invalid_type",
        ),
        (body(stream_options={"include_usage": True}), "stream_options", None),
        (body(stream=False, stream_options={}), "stream_options", None),
        (body(temperature="1"), "temperature", "invalid_type"),
        (body(temperature=True), "temperature", "invalid_type"),
        (body(top_p=[]), "top_p", "invalid_type"),
        (body(presence_penalty="0"), "presence_penalty", "invalid_type"),
        (body(frequency_penalty={}), "frequency_penalty", "invalid_type"),
        (body(n=0), "n", "integer_below_min_value"),
        (body(n=129), "n", "integer_above_max_value"),
        (body(n=1.0), "n", "invalid_type"),
        (body(n=True), "n", "invalid_type"),
        (body(max_tokens=0), "max_tokens", "integer_below_min_value"),
        (body(max_tokens=-5), "max_tokens", "integer_below_min_value"),
        (body(max_tokens="10"), "max_tokens", "invalid_type"),
        (body(max_completion_tokens=0.5), "max_completion_tokens", "invalid_type"),
        (body(stop=1), "stop", "invalid_type"),
        (body(stop={}), "stop", "invalid_type"),
        (body(stop=["a", 1]), "stop[1]", "invalid_type"),
        (body(stop=[None]), "stop[0]", "invalid_type"),
        (body(tools={}), "tools", "invalid_type"),
        (body(tools=["f"]), "tools[0]", "invalid_type"),
        (body(tools=[{"function": {"name": "f"}}]), "tools[0].type", "missing_required_parameter"),
        (
            body(tools=[FUNCTION_TOOL, {"type": "function"}]),
            "tools[1].function",
            "missing_required_parameter",
        ),
        (
            body(tools=[{"type": "function", "function": {"name": 1}}]),
            "tools[0].function.name",
            "invalid_type",
        ),
        (
            body(tools=[{"type": "function", "function": {"name": "f", "parameters": "{}"}}]),
            "tools[0].function.parameters",
            "invalid_type",
        ),
        (body(tool_choice=1), "tool_choice", "invalid_type"),
        (body(tool_choice=[]), "tool_choice", "invalid_type"),
        (body(tool_choice={}), "tool_choice.type", "missing_required_parameter"),
        (
            body(tool_choice={"type": "function", "function": {}}),
            "tool_choice.function.name",
            "missing_required_parameter",
        ),
        (body(response_format="json"), "response_format", "invalid_type"),
        (body(response_format={}), "response_format.type", "missing_required_parameter"),
        (
            body(response_format={"type": "json_schema"}),
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        (
            body(
                response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": 1}}
            ),
            "response_format.json_schema.schema",
            "invalid_type",
        ),
        (body(logprobs=1), "logprobs", "invalid_type"),
        (body(top_logprobs=1.5), "top_logprobs", "invalid_type"),
        (body(logit_bias=[]), "logit_bias", "invalid_type"),
        (body(logit_bias={"50256": "-100"}), "logit_bias.50256", "invalid_type"),
        (body(logit_bias={"1": None}), "logit_bias.1", "invalid_type"),
        (body(seed="1"), "seed", "invalid_type"),
        (body(seed=2**63), "seed", "integer_too_large"),
        (body(user=1), "user", "invalid_type"),
        (body(metadata="x"), "metadata", "invalid_type"),
        (body(modalities="text"), "modalities", "invalid_type"),
        (body(modalities=[1]), "modalities[0]", "invalid_type"),
        (body(audio="x"), "audio", "invalid_type"),
        (body(parallel_tool_calls="no"), "parallel_tool_calls", "invalid_type"),
        (body(reasoning_effort=1), "reasoning_effort", "invalid_type"),
        (body(service_tier={}), "service_tier", "invalid_type"),
        (body(store="yes"), "store", "invalid_type"),
        (body(prediction="x"), "prediction", "invalid_type"),
        (body(prediction={"type": "content", "content": 1}), "prediction.content", "invalid_type"),
        (body(functions=[{}]), "functions[0].name", "missing_required_parameter"),
        (body(function_call={}), "function_call.name", "missing_required_parameter"),
        (body(web_search_options=[]), "web_search_options", "invalid_type"),
        (body(verbosity=1), "verbosity", "invalid_type"),
        # the gateway's own controls
        (body(sluice=1), "sluice", "invalid_type"),
        (body(sluice=[]), "sluice", "invalid_type"),
        (body(sluice={"deadline": 1}), "sluice.deadline", "unknown_parameter"),
        (body(sluice={"nope": None}), "sluice.nope", "unknown_parameter"),
        (body(sluice={"deadline_s": "1"}), "sluice.deadline_s", "invalid_type"),
        (body(sluice={"deadline_s": True}), "sluice.deadline_s", "invalid_type"),
        (body(sluice={"deadline_s": 0}), "sluice.deadline_s", "invalid_value"),
        (body(sluice={"deadline_s": -1.5}), "sluice.deadline_s", "invalid_value"),
        (body(sluice={"tags": "a"}), "sluice.tags", "invalid_type"),
        (body(sluice={"tags": ["a", 1]}), "sluice.tags[1]", "invalid_type"),
        (body(sluice={"tags": ["a"] * 17}), "sluice.tags", "array_above_max_length"),
        (body(sluice={"tags": ["x" * 65]}), "sluice.tags[0]", "string_above_max_length"),
        (body(sluice={"tags": ["a\nb"]}), "sluice.tags[0]", "invalid_value"),
    ],
)
def test_a_fault_is_refused_with_its_place(refused: Any, param: str | None, code: str) -> None:
    error = refusal(refused)
    assert (error.status, error.param, error.code) == (400, param, code)
    assert error.message.isprintable()
    if param:
        assert f"'{param}'" in error.message


def test_a_message_reads_like_openais() -> None:
    error = refusal(
        body(messages=[USER, {"role": "user", "content": [{"type": "text", "text": 1}]}])
    )
    assert error.message == (
        "Invalid type for 'messages[1].content[0].text': "
        "expected a string, but got an integer instead."
    )


def test_the_controls_are_taken_out_of_the_body() -> None:
    controls = {"deadline_s": 2.5, "tags": ["a", "b"]}
    assert parse(body(sluice=controls, top_k=1)) == (body(top_k=1), controls)


@pytest.mark.parametrize("nothing", [None, {}, {"tags": None, "deadline_s": None}])
def test_controls_may_be_left_empty(nothing: Any) -> None:
    assert parse(body(sluice=nothing)) == (body(), {})


def test_a_long_key_is_not_repeated_in_full() -> None:
    error = refusal(body(logit_bias={"k" * 10_000: "x"}))
    assert len(error.message) < 300
    assert len(error.param or "") < 100


def test_a_number_keeps_its_kind() -> None:
    parsed, _ = parse_chat_request(
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":1,"top_p":1.0}'
    )
    assert (type(parsed["temperature"]), type(parsed["top_p"])) == (int, float)


# ------------------------------------------------------------------- capabilities


@pytest.mark.parametrize(
    ("request_body", "needs"),
    [
        (body(), set()),
        (with_part({"type": "text", "text": "x"}), set()),
        (with_part({"type": "image_url", "image_url": {"url": "x"}}), {"vision"}),
        (with_part({"type": "input_audio", "input_audio": {"data": "", "format": ""}}), {"audio"}),
        (with_part({"type": "something_new"}), set()),
        (body(tools=[FUNCTION_TOOL]), {"tools"}),
        (body(tools=[]), set()),
        (body(functions=[{"name": "f"}]), {"tools"}),
        (body(modalities=["text", "audio"]), {"audio"}),
        (body(modalities=["text"]), set()),
        (body(modalities=None, tools=None, response_format=None, audio=None), set()),
        (body(audio={"voice": "x", "format": "wav"}), {"audio"}),
        (body(response_format={"type": "json_object"}), set()),
        (
            body(response_format={"type": "json_schema", "json_schema": {"name": "n"}}),
            {"json_schema"},
        ),
        (
            with_part({"type": "image_url", "image_url": {"url": "x"}})
            | {"tools": [FUNCTION_TOOL], "modalities": ["audio"]},
            {"vision", "tools", "audio"},
        ),
    ],
)
def test_a_request_needs_these_capabilities(request_body: dict[str, Any], needs: set[str]) -> None:
    parsed, _ = parse(request_body)
    assert requested_capabilities(parsed) == needs


# ---------------------------------------------------------------------------- fuzz

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["user", "assistant", "tool", "text", "image_url", "function", "json_schema"]),
)
FIELDS = """
model messages role content type text image_url url tool_calls id function name arguments stream
stream_options include_usage tools tool_choice parameters response_format json_schema stop n
max_tokens modalities functions sluice tags deadline_s
"""
NAMES = st.sampled_from(FIELDS.split())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


VARIED = orjson.dumps(
    body(
        messages=[
            *with_part({"type": "image_url", "image_url": {"url": "x"}})["messages"],
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "x", "tool_call_id": "c1"},
        ]
    )
    | {"tools": [FUNCTION_TOOL], "stream": True, "stream_options": {}, "stop": ["a"]}
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A request in which something at some place is replaced, removed or added."""
    root: Any = orjson.loads(VARIED)
    for _ in range(draw(st.integers(1, 3))):
        node = root
        while True:
            places = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(node[place], dict | list) and draw(st.integers(0, 4)):
                node = node[place]
                continue
            if draw(st.booleans()):
                node[place] = draw(VALUES)
            else:
                del node[place]
            break
        if isinstance(node, dict) and draw(st.booleans()):
            node[draw(NAMES)] = draw(VALUES)
    return root


def parses_or_refuses(raw: bytes) -> None:
    try:
        parsed, controls = parse_chat_request(raw)
    except InvalidRequest as error:
        orjson.dumps(error.body())
    else:
        written = orjson.loads(raw)
        written.pop("sluice", None)
        assert parsed == written
        assert set(controls) <= {"deadline_s", "tags"}
        assert requested_capabilities(parsed) <= {"vision", "audio", "tools", "json_schema"}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    parses_or_refuses(raw)


@given(VALUES)
def test_any_json_is_a_request_or_refused(value: Any) -> None:
    parses_or_refuses(orjson.dumps(value))


@given(mutated())
def test_any_variation_of_a_request_is_one_or_refused(value: Any) -> None:
    parses_or_refuses(orjson.dumps(value))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(orjson.dumps(body(messages=[USER] * 25_000)), id="many messages"),
        pytest.param(
            orjson.dumps(with_message(role="user", content=[{"type": "x"}] * 80_000)),
            id="many parts",
        ),
        pytest.param(
            orjson.dumps(body(messages=[USER] * 25_000 + [{"role": "user"}])), id="wrong at the end"
        ),
        pytest.param(
            orjson.dumps(body(**{f"k{i}": i for i in range(60_000)})), id="many unknown fields"
        ),
        pytest.param(orjson.dumps(body(model="x" * 1_000_000)), id="a long model name"),
        pytest.param(orjson.dumps(body(stop=["x"] * 250_000)), id="many stop sequences"),
    ],
)
def test_a_megabyte_is_judged_quickly(raw: bytes) -> None:
    began = time.perf_counter()
    with contextlib.suppress(InvalidRequest):
        parse_chat_request(raw)
    # 10 to 100 ms here; anything quadratic would take minutes.
    assert time.perf_counter() - began < 3
