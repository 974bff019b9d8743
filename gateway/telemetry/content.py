"""Content: how are messages written in a span, if the operator wants them there?

As OpenTelemetry's conventions for generative AI say: messages of a role and parts, as JSON text.
Images and files are named by their type only: they are large, and no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from gateway.exchange import JSON

_INSTRUCTIONS = ("system", "developer")


def content_attributes(
    body: JSON, messages: Mapping[int, JSON], finish_reasons: Mapping[int, str]
) -> dict[str, str]:
    """The prompt as it was sent, and the answer."""
    asked = body["messages"]
    instructions = [m for m in asked if m.get("role") in _INSTRUCTIONS]
    found = {
        "gen_ai.system_instructions": [part for m in instructions for part in _parts(m)],
        "gen_ai.input.messages": [
            {"role": m.get("role"), "parts": _parts(m)} for m in asked if m not in instructions
        ],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": _parts({**message, "tool_calls": _in_order(message)}),
                "finish_reason": finish_reasons.get(index, ""),
            }
            for index, message in sorted(messages.items())
        ],
        "gen_ai.tool.definitions": body.get("tools") or [],
    }
    return {name: orjson.dumps(value).decode() for name, value in found.items() if value}


def _in_order(message: JSON) -> list[JSON]:
    calls = message.get("tool_calls") or {}
    return [
        {"id": call["id"], "function": {"name": call["name"], "arguments": call["arguments"]}}
        for _, call in sorted(calls.items())
    ]


def _parts(message: JSON) -> list[JSON]:
    if message.get("role") == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id")}
        return [{**answer, "response": message.get("content")}]
    return [*_texts(message.get("content")), *_texts(message.get("refusal")), *_calls(message)]


def _texts(content: Any) -> Iterable[JSON]:
    if isinstance(content, str):
        yield {"type": "text", "content": content}
    elif isinstance(content, Sequence):
        for part in content:
            text = part.get("text")
            yield {"type": "text", "content": text} if text else {"type": str(part.get("type"))}


def _calls(message: JSON) -> Iterable[JSON]:
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield {
            "type": "tool_call",
            "id": call.get("id"),
            "name": function.get("name"),
            "arguments": _parsed(function.get("arguments")),
        }


def _parsed(arguments: Any) -> Any:
    """They are JSON in a text; models do not always write JSON."""
    try:
        return orjson.loads(arguments)
    except (orjson.JSONDecodeError, TypeError):
        return arguments
