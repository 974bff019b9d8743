"""What of the caller's body reaches a provider through litellm, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.upstream.library import LibraryLane
from tests.fakes.upstream import Request, Upstream, json_answer
from tests.fakes.wires import LITELLM_WARNINGS, WIRES, call, target

pytestmark = [pytest.mark.asyncio(loop_scope="session"), *LITELLM_WARNINGS]

OPENAI_WIRES = ("openai", "azure", "mistral")


async def arrived(lane: LibraryLane, kind: str, *, headers: Any = None, **body: Any) -> Request:
    wire = WIRES[kind]
    async with Upstream(json_answer(wire.document("Hi"))) as upstream:
        given = {"headers": {"x-operator": "1"}, "forward_headers": ("X-Trace",)}
        attempt = call(target(wire, upstream.url, **given), **body)
        await lane(attempt.with_(headers=headers or {}))
        return upstream.request


FIELDS: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "stop": ["a", "b"],
    "max_tokens": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 2},
    "logprobs": True,
    "top_logprobs": 2,
    "seed": 3,
    "n": 2,
    "user": "u",
    "service_tier": "flex",
    "store": True,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "prediction": {"type": "content", "content": "x"},
    "metadata": {"a": "b"},
    "modalities": ["text"],
}


@pytest.mark.parametrize("kind", ["openai", "azure"])
@pytest.mark.parametrize(("name", "value"), FIELDS.items())
async def test_openais_fields_arrive_as_they_are(
    lane: LibraryLane, kind: str, name: str, value: Any
):
    if kind == "azure" and name in ("service_tier", "safety_identifier"):
        pytest.skip("litellm does not know that Azure takes it: a 400 names it")
    request = await arrived(lane, kind, **{name: value})
    assert request.json[name] == value


@pytest.mark.parametrize("name", ["reasoning_effort", "verbosity"])
async def test_fields_of_reasoning_models_arrive_there(lane: LibraryLane, name: str):
    wire = WIRES["openai"]
    async with Upstream(json_answer(wire.document("Hi"))) as upstream:
        to = target(wire, upstream.url)
        model = type(to.model)(name="gpt-5")
        routed = type(to)(provider=to.provider, model=model, credential=to.credential)
        await lane(call(routed, **{name: "low"}))
        assert upstream.request.json[name] == "low"


@pytest.mark.parametrize("kind", OPENAI_WIRES)
async def test_unknown_fields_arrive_where_openais_format_is_spoken(lane: LibraryLane, kind: str):
    unknown = {"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}, "größe": [1]}
    request = await arrived(lane, kind, **unknown)
    for name, value in unknown.items():
        assert request.json[name] == value


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "bedrock", "cohere_chat"])
async def test_unknown_fields_are_ignored_elsewhere(lane: LibraryLane, kind: str):
    request = await arrived(lane, kind, min_p=0.1, größe=[1])
    assert b"min_p" not in request.body
    assert "größe".encode() not in request.body


@pytest.mark.parametrize(("kind", "place"), [("anthropic", "top_k"), ("gemini", "top_k")])
async def test_fields_that_several_providers_share_arrive(lane: LibraryLane, kind: str, place: str):
    request = await arrived(lane, kind, top_k=5)
    assert place.encode() in request.body or b"topK" in request.body


STEERING: dict[str, Any] = {
    "api_base": "http://127.0.0.1:1",
    "base_url": "http://127.0.0.1:1",
    "api_key": "sk-other",
    "api_version": "1999-01-01",
    "mock_response": "free",
    "mock_tool_calls": [{}],
    "input_cost_per_token": 0,
    "custom_llm_provider": "openai",
    "extra_headers": {"x-evil": "1"},
    "headers": {"x-evil": "1"},
    "extra_body": {"model": "other", "x-evil": 1},
    "timeout": 0.0001,
    "num_retries": 3,
    "fallbacks": ["gpt-4o"],
    "cache": {"no-cache": True},
    "litellm_params": {"api_base": "http://127.0.0.1:1"},
    "model_list": [],
    "deployment_id": "other",
    "azure_ad_token": "token",
    "aws_region_name": "eu-west-1",
    "vertex_project": "x",
    "allowed_openai_params": ["x"],
    "drop_params": True,
    "_skip_mcp_handler": False,
}


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize(("name", "value"), STEERING.items())
async def test_no_field_of_the_caller_steers_litellm(
    lane: LibraryLane, kind: str, name: str, value: Any
):
    """It arrives as plain data, or not at all: the request goes where it should, as it should."""
    wire = WIRES[kind]

    request = await arrived(lane, kind, **{name: value})

    assert request.path == wire.path
    assert request.headers[wire.key_header].startswith(wire.key)
    assert "x-evil" not in request.headers
    assert request.json.get("model", wire.model) == wire.model


async def test_headers_go_upstream_by_the_providers_list(lane: LibraryLane):
    headers = {"x-trace": "t", "x-other": "o", "authorization": "Bearer caller"}
    for kind in WIRES:
        request = await arrived(lane, kind, headers=headers)
        assert request.headers["x-trace"] == "t"
        assert request.headers["x-operator"] == "1"
        assert "x-other" not in request.headers
        assert "caller" not in request.headers[WIRES[kind].key_header]


async def test_tools_do_not_ask_for_a_module_that_is_missing(lane: LibraryLane):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    request = await arrived(lane, "openai", tools=[tool], tool_choice="auto")
    assert request.json["tools"] == [tool]


async def test_streams_always_ask_for_usage(lane: LibraryLane):
    wire = WIRES["openai"]
    for options in (None, {"include_usage": False}, {"include_obfuscation": False}):
        async with Upstream(wire.stream(*wire.begin("Hi"), *wire.end())) as upstream:
            body = {"stream_options": options} if options else {}
            reply = await lane(call(target(wire, upstream.url), stream=True, **body))
            await reply.aclose()  # type: ignore[union-attr]
            sent = upstream.request.json["stream_options"]
        assert sent == {**(options or {}), "include_usage": True}


async def test_the_body_of_the_call_is_not_changed(lane: LibraryLane):
    wire = WIRES["anthropic"]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    async with Upstream(json_answer(wire.document("Hi"))) as upstream:
        attempt = call(target(wire, upstream.url), messages=messages, tools=[])
        before = repr(attempt.body)
        await lane(attempt)
        assert repr(attempt.body) == before
        assert upstream.request.json["system"]
