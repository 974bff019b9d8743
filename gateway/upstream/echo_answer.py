"""The embedded model's answer: what does it say to a body, token by token?

A token is a word with the white space before it, in pieces of at most eight characters. An answer
is a list of deltas, one for each token, as a stream would bring them; the unstreamed message is
put together from the same list.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from gateway.errors import InvalidPrompt
from gateway.exchange import JSON
from gateway.upstream.instance import instance, object_instance

MAX_TOKENS = 16_384
_MAX_STOPS = 4
_MAX_CALLS = 16
_MAX_SCHEMA_BYTES = 32_768
_TOKEN = re.compile(r"\s*\S{1,8}|\s+\Z")
_MARKS = {"image_url": "[image]", "input_audio": "[audio]", "file": "[file]"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Deltas, one for each token, and the finish reason."""

    deltas: tuple[JSON, ...]
    finish_reason: str

    def message(self) -> JSON:
        """The deltas put together."""
        text: list[str] = []
        calls: list[JSON] = []
        arguments: list[list[str]] = []
        for delta in self.deltas:
            text.append(delta.get("content") or "")
            for piece in delta.get("tool_calls", ()):
                if "id" in piece:
                    calls.append({key: piece[key] for key in ("id", "type", "function")})
                    arguments.append([])
                else:
                    arguments[-1].append(piece["function"]["arguments"])
        if not calls:
            return {"role": "assistant", "content": "".join(text), "refusal": None}
        for call, pieces in zip(calls, arguments, strict=True):
            call["function"] = {**call["function"], "arguments": "".join(pieces)}
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}


def answer_to(body: JSON) -> Answer:
    """What the embedded model answers. Raises `InvalidPrompt` for what is beyond its limits."""
    calls = _calls(body)
    deltas = _call_deltas(calls) if calls else _text_deltas(_stopped(_text(body), body))
    asked = (body.get("max_completion_tokens"), body.get("max_tokens"), MAX_TOKENS)
    limit = min(number for number in asked if number is not None)
    taken = tuple(islice(deltas, limit))
    cut = next(deltas, None) is not None
    return Answer(taken, "length" if cut else "tool_calls" if calls else "stop")


def prompt_tokens(body: JSON) -> int:
    """Three for each message, and one for each four characters that it begins."""
    return sum(3 + (len(_said(message)) + 3) // 4 for message in body["messages"])


# -------------------------------------------------------------------------- text


def _said(message: JSON) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    return "\n".join(map(_shown, content))


def _shown(part: JSON) -> str:
    kind: str = part["type"]
    if kind in ("text", "refusal"):
        return str(part[kind])
    return _MARKS.get(kind, f"[{kind}]")


def _asked(body: JSON) -> str:
    """The last user message; the last of all where no user has spoken."""
    messages = body["messages"]
    users = (message for message in reversed(messages) if message["role"] == "user")
    return _said(next(users, messages[-1]))


def _results(body: JSON) -> list[str]:
    """The results of the tools that ran since the assistant spoke last."""
    results: list[str] = []
    for message in reversed(body["messages"]):
        if message["role"] not in ("tool", "function"):
            break
        results.append(_said(message))
    return results[::-1]


def _text(body: JSON) -> str:
    wanted = body.get("response_format") or {}
    text = "\n".join(_results(body)) or _asked(body)
    if wanted.get("type") == "json_schema":
        return _json(instance(_small(wanted["json_schema"].get("schema") or {})))
    if wanted.get("type") == "json_object" and not _is_object(text):
        return _json({"echo": text})
    return text


def _stopped(text: str, body: JSON) -> str:
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if len(stops) > _MAX_STOPS:
        raise InvalidPrompt(f"At most {_MAX_STOPS} stop sequences are possible.", param="stop")
    ends = [at for each in stops if each and (at := text.find(each)) >= 0]
    return text[: min(ends)] if ends else text


def _text_deltas(text: str) -> Iterator[JSON]:
    for token in _TOKEN.finditer(text):
        yield {"content": token[0]}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _small(schema: JSON) -> JSON:
    if len(orjson.dumps(schema)) > _MAX_SCHEMA_BYTES:
        raise InvalidPrompt(f"A schema may have at most {_MAX_SCHEMA_BYTES} bytes here.")
    return schema


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


# --------------------------------------------------------------------- tool calls

_ToolCall = tuple[str, str]  # name, arguments


def _calls(body: JSON) -> list[_ToolCall]:
    tools = {
        tool["function"]["name"]: tool["function"].get("parameters") or {}
        for tool in body.get("tools") or ()
        if tool["type"] == "function"
    }
    choice: Any = body.get("tool_choice") or "auto"
    if not tools or choice == "none" or _results(body):
        return []
    named = choice["function"]["name"] if _names_a_function(choice) else None
    if named is not None:
        tools = {name: schema for name, schema in tools.items() if name == named}
    calls = list(islice(_asked_calls(_asked(body), tools), _MAX_CALLS))
    if not calls and tools and (named or choice == "required"):
        name, schema = next(iter(tools.items()))
        calls = [(name, _arguments(schema))]
    return calls if body.get("parallel_tool_calls") is not False else calls[:1]


def _names_a_function(choice: Any) -> bool:
    return isinstance(choice, dict) and choice["type"] == "function"


def _asked_calls(text: str, tools: dict[str, JSON]) -> Iterator[_ToolCall]:
    """The lines `call NAME {…}` and `call NAME` of a text, for tools that there are."""
    for line in text.splitlines():
        verb, name, arguments = (*line.split(None, 2), "", "", "")[:3]
        if verb != "call" or name not in tools:
            continue
        if not arguments.strip():
            yield name, _arguments(tools[name])
        elif _is_object(arguments):
            yield name, arguments.strip()


def _arguments(schema: JSON) -> str:
    return _json(object_instance(_small(schema)))


def _call_deltas(calls: list[_ToolCall]) -> Iterator[JSON]:
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        call_id = f"call_{secrets.token_hex(12)}"
        start = {"index": index, "id": call_id, "type": "function", "function": function}
        yield {"tool_calls": [start]}
        for token in _TOKEN.finditer(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": token[0]}}]}
