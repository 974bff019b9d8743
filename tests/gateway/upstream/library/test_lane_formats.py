"""What arrives at each provider, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.exchange import Completion, Event, Stream
from gateway.upstream.library import LibraryLane
from gateway.usage import Usage
from tests.fakes import anthropic, bedrock, cohere, gemini, openai
from tests.fakes.upstream import Answer, Request, Upstream, json_answer
from tests.fakes.wires import LITELLM_WARNINGS, SECRET, WIRES, Wire, call, target

pytestmark = [pytest.mark.asyncio(loop_scope="session"), *LITELLM_WARNINGS]

JSON = dict[str, Any]
every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
JSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "number", "schema": SCHEMA, "strict": True},
}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)
IMAGE = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
]


async def unstreamed(
    lane: LibraryLane, wire: Wire, answer: JSON, **body: Any
) -> tuple[Completion, Request]:
    async with Upstream(json_answer(answer)) as upstream:
        reply = await lane(call(target(wire, upstream.url), **body))
        assert isinstance(reply, Completion)
        return reply, upstream.request


async def streamed(
    lane: LibraryLane, wire: Wire, answer: Answer, **body: Any
) -> tuple[list[Event], Request]:
    async with Upstream(answer) as upstream:
        reply = await lane(call(target(wire, upstream.url), stream=True, **body))
        assert isinstance(reply, Stream)
        events = [event async for events in reply for event in events]
        return events, upstream.request


def text_of(events: list[Event]) -> str:
    deltas = [choice["delta"] for event in events for choice in event.data["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def finishes(events: list[Event]) -> list[str]:
    choices = [choice for event in events for choice in event.data["choices"]]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


@every_wire
async def test_an_unstreamed_answer_comes_back_with_its_usage(lane: LibraryLane, wire: Wire):
    reply, request = await unstreamed(lane, wire, wire.document("Grüße, 世界!"))

    (choice,) = reply.data["choices"]
    assert choice["message"]["content"] == "Grüße, 世界!"
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "stop"
    assert reply.data["object"] == "chat.completion"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (22, 10)
    assert reply.data["usage"]["total_tokens"] == 32
    assert (request.method, request.path) == ("POST", wire.path)


@every_wire
async def test_the_providers_key_arrives_in_its_header(lane: LibraryLane, wire: Wire):
    _, request = await unstreamed(lane, wire, wire.document("Hi"))

    assert request.headers[wire.key_header].startswith(wire.key)
    assert SECRET.encode() not in request.body
    assert SECRET not in request.path
    assert request.headers["accept-encoding"] == "identity"


@every_wire
async def test_a_stream_says_the_same_as_the_unstreamed_answer(lane: LibraryLane, wire: Wire):
    answer = wire.stream(*wire.begin("Grü", "ße, 世", "界!"), *wire.end())

    events, request = await streamed(lane, wire, answer)

    assert text_of(events) == "Grüße, 世界!"
    assert finishes(events) == ["stop"]
    assert len({event.data["id"] for event in events}) == 1
    assert events[0].data["choices"][0]["delta"]["role"] == "assistant"
    assert all(event.data["object"] == "chat.completion.chunk" for event in events)
    assert (request.method, request.path) == ("POST", wire.streamed_path or wire.path)


@every_wire
async def test_the_usage_chunk_comes_last_and_has_no_choices(lane: LibraryLane, wire: Wire):
    events, _ = await streamed(lane, wire, wire.stream(*wire.begin("Hi"), *wire.end()))

    *content, last = events
    assert last.data["choices"] == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (22, 10)
    assert last.usage.source == "provider"
    assert last.data["usage"]["prompt_tokens"] == 22
    assert all(event.usage is None and "usage" not in event.data for event in content)


@every_wire
async def test_a_stream_may_be_split_at_every_byte(lane: LibraryLane, wire: Wire):
    whole = b"".join([*wire.begin("Grü", "ße"), *wire.end()])
    answer = wire.stream(*(whole[at : at + 1] for at in range(len(whole))))

    events, _ = await streamed(lane, wire, answer)

    assert text_of(events) == "Grüße"
    assert finishes(events) == ["stop"]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
async def test_comments_blank_lines_and_line_ends_do_not_matter(lane: LibraryLane, ending: bytes):
    wire = WIRES["openai"]
    parts = [b": hello\n\n", b"\n", *wire.begin("Hi"), b": ping\n\n", *wire.end()]
    answer = wire.stream(*(part.replace(b"\n", ending) for part in parts))

    events, _ = await streamed(lane, wire, answer)

    assert text_of(events) == "Hi"


async def test_cached_and_reasoning_tokens_are_counted(lane: LibraryLane):
    expected = Usage(prompt_tokens=22, completion_tokens=10, cached_tokens=12, reasoning_tokens=4)
    for kind in ("openai", "gemini"):
        reply, _ = await unstreamed(lane, WIRES[kind], WIRES[kind].document("Hi"))
        assert reply.usage == expected


@pytest.mark.parametrize("kind", ["openai", "azure", "mistral", "anthropic"])
async def test_an_answer_without_usage_has_none(lane: LibraryLane, kind: str):
    document = WIRES[kind].document("Hi")
    del document["usage"]
    if kind == "anthropic":
        document["usage"] = {}  # litellm cannot read an answer without

    reply, _ = await unstreamed(lane, WIRES[kind], document)

    assert reply.usage is None
    assert "usage" not in reply.data


@pytest.mark.parametrize("kind", ["openai", "azure", "mistral", "gemini", "bedrock"])
async def test_a_stream_without_usage_has_none(lane: LibraryLane, kind: str):
    ends = {
        "gemini": lambda: gemini.end("", usage=None),
        "bedrock": lambda: bedrock.end(usage=None),
    }
    end = ends.get(kind, lambda: [openai.chunk({}, "stop"), openai.DONE])
    begin = gemini.chunks("Hi", usage=None) if kind == "gemini" else WIRES[kind].begin("Hi")

    events, _ = await streamed(lane, WIRES[kind], WIRES[kind].stream(*begin, *end()))

    assert finishes(events) == ["stop"]
    assert all(event.data["choices"] and event.usage is None for event in events)


# ------------------------------------------------------------------------------ tools

CALLS = [
    {"id": "call_a", "name": "weather", "arguments": '{"place": "Rome"}'},
    {"id": "call_b", "name": "weather", "arguments": '{"place": "Oslo"}'},
]


def _openai_calls() -> JSON:
    calls = [
        {
            "id": made["id"],
            "type": "function",
            "function": {"name": made["name"], "arguments": made["arguments"]},
        }
        for made in CALLS
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return openai.completion(message, "tool_calls")


def _openai_call_chunks() -> list[bytes]:
    chunks = [openai.chunk({"role": "assistant", "content": None})]
    for index, made in enumerate(CALLS):
        begun = {"name": made["name"], "arguments": ""}
        named = {"index": index, "id": made["id"], "type": "function", "function": begun}
        chunks.append(openai.chunk({"tool_calls": [named]}))
        for part in (made["arguments"][:6], made["arguments"][6:]):
            more = {"index": index, "function": {"arguments": part}}
            chunks.append(openai.chunk({"tool_calls": [more]}))
    return [*chunks, *openai.end("tool_calls")]


TOOL_ANSWERS: dict[str, JSON] = {
    "openai": _openai_calls(),
    "azure": _openai_calls(),
    "mistral": _openai_calls(),
    "anthropic": anthropic.message(
        *(
            {"type": "tool_use", "id": c["id"], "name": c["name"], "input": {"place": place}}
            for c, place in zip(CALLS, ("Rome", "Oslo"), strict=True)
        ),
        stop="tool_use",
    ),
    "gemini": gemini.answer(
        *({"functionCall": {"name": "weather", "args": {"place": p}}} for p in ("Rome", "Oslo"))
    ),
    "bedrock": bedrock.answer(
        *(
            {"toolUse": {"toolUseId": c["id"], "name": c["name"], "input": {"place": place}}}
            for c, place in zip(CALLS, ("Rome", "Oslo"), strict=True)
        ),
        stop="tool_use",
    ),
    "cohere_chat": cohere.answer(
        "",
        "TOOL_CALL",
        tool_calls=_openai_calls()["choices"][0]["message"]["tool_calls"],
    ),
}


def _blocks(module: Any) -> list[bytes]:
    return [
        part
        for index, made in enumerate(CALLS)
        for part in module.tool_use(
            index, made["id"], made["name"], made["arguments"][:6], made["arguments"][6:]
        )
    ]


TOOL_STREAMS: dict[str, list[bytes]] = {
    "openai": _openai_call_chunks(),
    "azure": _openai_call_chunks(),
    "mistral": _openai_call_chunks(),
    "anthropic": [anthropic.start(), *_blocks(anthropic), *anthropic.end("tool_use")],
    "gemini": gemini.end(
        *({"functionCall": {"name": "weather", "args": {"place": p}}} for p in ("Rome", "Oslo"))
    ),
    "bedrock": [bedrock.start(), *_blocks(bedrock), *bedrock.end("tool_use")],
    "cohere_chat": [cohere.start(), *_blocks(cohere), *cohere.end("TOOL_CALL")],
}


@every_wire
async def test_tools_reach_the_provider_and_its_calls_come_back(lane: LibraryLane, wire: Wire):
    reply, request = await unstreamed(lane, wire, TOOL_ANSWERS[wire.kind], tools=[TOOL])

    assert b"The weather at a place." in request.body
    (choice,) = reply.data["choices"]
    assert choice["finish_reason"] == "tool_calls"
    made = choice["message"]["tool_calls"]
    assert [c["function"]["name"] for c in made] == ["weather", "weather"]
    places = [c["function"]["arguments"].replace(" ", "") for c in made]
    assert places == ['{"place":"Rome"}', '{"place":"Oslo"}']
    if wire.kind != "gemini":  # has no ids of its own
        assert [c["id"] for c in made] == ["call_a", "call_b"]
    assert len({c["id"] for c in made}) == 2


@every_wire
async def test_streamed_tool_calls_keep_index_id_and_arguments(lane: LibraryLane, wire: Wire):
    answer = wire.stream(*TOOL_STREAMS[wire.kind])

    events, _ = await streamed(lane, wire, answer, tools=[TOOL])

    calls: dict[int, JSON] = {}
    for event in events:
        for choice in event.data["choices"]:
            for part in choice["delta"].get("tool_calls", ()):
                made = calls.setdefault(part["index"], {"ids": [], "names": [], "arguments": ""})
                made["ids"] += [part["id"]] if part.get("id") else []
                function = part.get("function", {})
                made["names"] += [function["name"]] if function.get("name") else []
                made["arguments"] += function.get("arguments") or ""
    assert sorted(calls) == [0, 1]
    assert [c["names"] for c in calls.values()] == [["weather"], ["weather"]]
    places = [c["arguments"].replace(" ", "") for c in calls.values()]
    assert places == ['{"place":"Rome"}', '{"place":"Oslo"}']
    if wire.kind != "gemini":
        assert [c["ids"] for c in calls.values()] == [["call_a"], ["call_b"]]
    assert finishes(events) == ["tool_calls"]


# ---------------------------------------------------------- images, schemas, reasoning


@pytest.mark.parametrize("kind", ["openai", "azure", "mistral", "anthropic", "gemini", "bedrock"])
async def test_an_inline_image_reaches_the_provider(lane: LibraryLane, kind: str):
    wire = WIRES[kind]

    _, request = await unstreamed(
        lane, wire, wire.document("A pixel."), messages=[{"role": "user", "content": IMAGE}]
    )

    assert PIXEL.encode() in request.body
    assert b"What is this?" in request.body


@pytest.mark.parametrize("wire", [w for w in WIRES.values() if w.kind != "cohere_chat"])
async def test_a_json_schema_reaches_the_provider(lane: LibraryLane, wire: Wire):
    document = wire.document('{"n": 1}')
    if wire.kind == "bedrock":  # litellm asks for a tool call instead
        use = {"toolUseId": "t", "name": "json_tool_call", "input": {"n": 1}}
        document = bedrock.answer({"toolUse": use}, stop="tool_use")

    reply, request = await unstreamed(lane, wire, document, response_format=JSON_SCHEMA)

    assert b'"n"' in request.body
    assert b'"integer"' in request.body.lower()
    assert reply.data["choices"][0]["message"]["content"].replace(" ", "") == '{"n":1}'


REASONING: dict[str, JSON] = {
    "openai": openai.completion(
        {"role": "assistant", "content": "42", "reasoning_content": "Let me think."}
    ),
    "anthropic": anthropic.message(
        {"type": "thinking", "thinking": "Let me think.", "signature": "sig=="}, "42"
    ),
    "gemini": gemini.answer({"text": "Let me think.", "thought": True}, "42"),
    "bedrock": bedrock.answer(
        {"reasoningContent": {"reasoningText": {"text": "Let me think.", "signature": "sig=="}}},
        "42",
    ),
}
REASONING_STREAMS: dict[str, list[bytes]] = {
    "openai": [
        openai.chunk({"role": "assistant", "reasoning_content": "Let me "}),
        openai.chunk({"reasoning_content": "think."}),
        openai.chunk({"content": "42"}),
        *openai.end(),
    ],
    "anthropic": [
        anthropic.start(),
        *anthropic.thinking(0, "Let me ", "think."),
        *anthropic.text(1, "42"),
        *anthropic.end(),
    ],
    "gemini": [
        *gemini.chunks({"text": "Let me ", "thought": True}),
        *gemini.chunks({"text": "think.", "thought": True}),
        *gemini.end("42"),
    ],
    "bedrock": [
        bedrock.start(),
        *(
            bedrock.event(
                "contentBlockDelta",
                {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": text}}},
            )
            for text in ("Let me ", "think.")
        ),
        *bedrock.text(1, "42"),
        *bedrock.end(),
    ],
}


@pytest.mark.parametrize("kind", REASONING)
async def test_reasoning_is_passed_on(lane: LibraryLane, kind: str):
    reply, _ = await unstreamed(lane, WIRES[kind], REASONING[kind])

    message = reply.data["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Let me think.", "42")


@pytest.mark.parametrize("kind", REASONING_STREAMS)
async def test_streamed_reasoning_is_passed_on(lane: LibraryLane, kind: str):
    answer = WIRES[kind].stream(*REASONING_STREAMS[kind])

    events, _ = await streamed(lane, WIRES[kind], answer)

    deltas = [choice["delta"] for event in events for choice in event.data["choices"]]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "Let me think."
    assert text_of(events) == "42"


async def test_reasoning_effort_becomes_anthropics_thinking(lane: LibraryLane):
    wire = WIRES["anthropic"]

    _, request = await unstreamed(lane, wire, wire.document("Hi"), reasoning_effort="low")

    assert request.json["thinking"]["type"] in ("enabled", "adaptive")


# ------------------------------------------------------------------- several choices


async def test_each_of_several_choices_finishes_as_the_provider_said(lane: LibraryLane):
    def part(index: int, delta: JSON, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return openai.chunk(None, choices=[choice])

    wire = WIRES["openai"]
    answer = wire.stream(
        part(0, {"role": "assistant", "content": "a"}),
        part(1, {"role": "assistant", "content": "b"}),
        part(0, {}, "stop"),
        part(1, {"content": "c"}),
        part(1, {}, "length"),
        openai.chunk(None, usage=openai.USAGE),
        openai.DONE,
    )

    events, request = await streamed(lane, wire, answer, n=2)

    assert request.json["n"] == 2
    texts, ends = {0: "", 1: ""}, {}
    for event in events:
        for choice in event.data["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
            if choice["finish_reason"]:
                ends[choice["index"]] = choice["finish_reason"]
    assert texts == {0: "a", 1: "bc"}
    assert ends == {0: "stop", 1: "length"}
