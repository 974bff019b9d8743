"""The lanes compared: one corpus against one provider; clients and provider see no difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.exchange import JSON, Completion, Stream
from gateway.upstream.lanes import Lane
from gateway.upstream.library import LibraryLane
from gateway.upstream.native import NativeLane
from gateway.usage import usage_from_openai
from tests.builders import call, target
from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, Upstream, json_answer, sse_answer
from tests.fakes.wires import LITELLM_WARNINGS
from tests.gateway.upstream.library.corpus import CORPUS, Case

pytestmark = [pytest.mark.asyncio(loop_scope="session"), *LITELLM_WARNINGS]

LANES = ("native", "library")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def lanes(lane: LibraryLane) -> AsyncIterator[dict[str, Lane]]:
    native = NativeLane()
    yield {"native": native, "library": lane}
    await native.aclose()


def answer(case: Case) -> Any:
    def script(request: Request) -> Answer:
        if request.json.get("stream"):
            return sse_answer(case.events())
        return json_answer(case.completion())

    return script


async def asked(lane: Lane, name: str, case: Case, *, stream: bool) -> tuple[JSON, JSON]:
    """What arrives at the provider, and what comes back to the client, by one lane."""
    async with Upstream(answer(case)) as upstream:
        at = target("fake/gpt-4o", base_url=upstream.url, lane=name)  # type: ignore[arg-type]
        reply = await lane(call(body=case.body, at=at, stream=stream))
        if isinstance(reply, Stream):
            return _sent(upstream.request), await _assembled(reply)
        return _sent(upstream.request), _received(reply)


def _sent(request: Request) -> JSON:
    body: JSON = request.json
    body.pop("stream", None)
    body.pop("stream_options", None)
    for message in body["messages"]:  # litellm leaves a null content out: the same to OpenAI
        if message.get("content") is None:
            message.pop("content", None)
    return body


def _received(completion: Completion) -> JSON:
    choices = {
        choice["index"]: _choice(choice["message"], choice["finish_reason"], choice.get("logprobs"))
        for choice in completion.data["choices"]
    }
    return {"choices": choices, "usage": completion.usage, "model": completion.data["model"]}


async def _assembled(stream: Stream) -> JSON:
    """A stream put together as a client does it."""
    messages: dict[int, JSON] = {}
    finishes: dict[int, str] = {}
    told: dict[int, Any] = {}
    usage = model = None
    ids = set()
    async for events in stream:
        for event in events:
            usage = event.usage or usage
            model = event.data["model"]
            ids.add(event.data["id"])
            for choice in event.data["choices"]:
                index = choice["index"]
                _join(messages.setdefault(index, {"content": "", "tool_calls": {}}), choice)
                finishes[index] = choice.get("finish_reason") or finishes.get(index, "")
                told[index] = choice.get("logprobs") or told.get(index)
    assert len(ids) == 1
    for message in messages.values():
        message["content"] = message["content"] or None
        message["tool_calls"] = [message["tool_calls"][i] for i in sorted(message["tool_calls"])]
    choices = {i: _choice(messages[i], finishes[i], told[i]) for i in messages}
    return {"choices": choices, "usage": usage, "model": model}


def _join(message: JSON, choice: JSON) -> None:
    delta = choice["delta"]
    message["content"] += delta.get("content") or ""
    for piece in delta.get("tool_calls") or ():
        known = message["tool_calls"].setdefault(
            piece["index"], {"id": None, "type": "function", "function": {"arguments": ""}}
        )
        known["id"] = piece.get("id") or known["id"]
        function = piece.get("function") or {}
        known["function"]["name"] = function.get("name") or known["function"].get("name")
        known["function"]["arguments"] += function.get("arguments") or ""


def _choice(message: JSON, finish: str, logprobs: Any) -> JSON:
    return {
        "content": message.get("content"),
        "tool_calls": message.get("tool_calls") or [],
        "finish_reason": finish,
        "logprobs": logprobs,
    }


def _wanted(case: Case) -> JSON:
    choices = {i: _choice(*choice) for i, choice in enumerate(case.choices)}
    usage = usage_from_openai(openai.USAGE)
    return {"choices": choices, "usage": usage, "model": openai.HEAD["model"]}


@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
@pytest.mark.parametrize("name", CORPUS)
async def test_all_lanes_send_and_return_the_same(
    lanes: dict[str, Lane], name: str, stream: bool
) -> None:
    case = CORPUS[name]
    seen = {lane: await asked(lanes[lane], lane, case, stream=stream) for lane in LANES}
    for lane, (sent, received) in seen.items():
        assert received == _wanted(case), lane
        assert sent == _sent_by_client(case), lane


def _sent_by_client(case: Case) -> JSON:
    messages = [
        {k: v for k, v in message.items() if k != "content" or v is not None}
        for message in case.body["messages"]
    ]
    return {**case.body, "model": "gpt-4o", "messages": messages}
