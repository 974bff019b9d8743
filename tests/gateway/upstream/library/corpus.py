"""Calls that every lane must treat alike, each with what an OpenAI-format provider answers.

The answers are hand-written in the shape of OpenAI's API reference (chat completions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.fakes import openai

JSON = dict[str, Any]

IMAGE = "data:image/png;base64,iVBORw0KGgo="
WEATHER: JSON = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        },
    },
}
SCHEMA: JSON = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}
LOGPROBS: JSON = {
    "content": [
        {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []},
    ],
    "refusal": None,
}


def tool_call(number: int, place: str) -> JSON:
    arguments = f'{{"place": "{place}"}}'
    function = {"name": "weather", "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


@dataclass(frozen=True)
class Case:
    """`choices` are the messages of the answer with their finish reasons and log-probabilities."""

    body: JSON
    choices: tuple[tuple[JSON, str, JSON | None], ...]

    def completion(self) -> JSON:
        choices = [
            {"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish}
            for i, (message, finish, logprobs) in enumerate(self.choices)
        ]
        return {
            **openai.HEAD,
            "object": "chat.completion",
            "choices": choices,
            "usage": openai.USAGE,
        }

    def events(self) -> list[bytes]:
        """The same answer as a stream: text in pieces, arguments in pieces."""
        head = {**openai.HEAD, "object": "chat.completion.chunk"}
        deltas: list[JSON] = []
        for index, (message, finish, logprobs) in enumerate(self.choices):
            pieces = [{"role": "assistant", "content": "" if message.get("content") else None}]
            pieces += [{"content": piece} for piece in _pieces(message.get("content") or "")]
            pieces += [{"tool_calls": [call]} for call in _call_pieces(message)]
            for number, piece in enumerate(pieces):
                told = logprobs if number == 1 else None
                deltas.append(
                    {"index": index, "delta": piece, "logprobs": told, "finish_reason": None}
                )
            deltas.append({"index": index, "delta": {}, "logprobs": None, "finish_reason": finish})
        events = [openai.sse({**head, "choices": [delta]}) for delta in deltas]
        return [*events, openai.sse({**head, "choices": [], "usage": openai.USAGE}), openai.DONE]


def _pieces(text: str) -> list[str]:
    return [text[i : i + 3] for i in range(0, len(text), 3)]


def _call_pieces(message: JSON) -> list[JSON]:
    pieces = []
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        pieces.append({**call, "index": index, "function": {**function, "arguments": ""}})
        pieces += [
            {"index": index, "function": {"arguments": piece}}
            for piece in _pieces(function["arguments"])
        ]
    return pieces


def says(text: str, finish: str = "stop", logprobs: JSON | None = None) -> Any:
    return ({"role": "assistant", "content": text}, finish, logprobs)


def calls(*tool_calls: JSON) -> Any:
    message = {"role": "assistant", "content": None, "tool_calls": list(tool_calls)}
    return (message, "tool_calls", None)


def user(content: Any) -> JSON:
    return {"role": "user", "content": content}


def asked(*messages: JSON, **fields: Any) -> JSON:
    return {"model": "m", "messages": list(messages), **fields}


CORPUS: dict[str, Case] = {
    "plain": Case(asked(user("Hello"), temperature=0.5, max_tokens=50), (says("Hello!"),)),
    "multi-turn": Case(
        asked(
            {"role": "system", "content": "Be brief."},
            user("One"),
            {"role": "assistant", "content": "1"},
            user("Two"),
        ),
        (says("2"),),
    ),
    "tools": Case(
        asked(user("Weather?"), tools=[WEATHER], tool_choice="auto"),
        (calls(tool_call(1, "Oslo")),),
    ),
    "parallel tools": Case(
        asked(user("Weather?"), tools=[WEATHER], parallel_tool_calls=True),
        (calls(tool_call(1, "Oslo"), tool_call(2, "Rome")),),
    ),
    "tool result": Case(
        asked(
            user("Weather?"),
            {"role": "assistant", "content": None, "tool_calls": [tool_call(1, "Oslo")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            tools=[WEATHER],
        ),
        (says("It rains."),),
    ),
    "JSON schema": Case(asked(user("A city"), response_format=SCHEMA), (says('{"name": "Oslo"}'),)),
    "image": Case(
        asked(
            user(
                [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                ]
            )
        ),
        (says("A dot."),),
    ),
    "two choices": Case(asked(user("Hello"), n=2), (says("Hi."), says("Hello."))),
    "stop": Case(asked(user("Count"), stop=["3", "4"]), (says("1 2 "),)),
    "length": Case(asked(user("Count"), max_tokens=2), (says("1 2", "length"),)),
    "log-probabilities": Case(
        asked(user("Hello"), logprobs=True, top_logprobs=0), (says("Hi", logprobs=LOGPROBS),)
    ),
    "unicode": Case(asked(user("Grüße 你好 😀 \u2028")), (says("Ä 你好 😀 \u2028 e\u0301"),)),
    "many fields": Case(
        asked(
            user("Hello"),
            top_p=0.9,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            seed=7,
            user="u-1",
            logit_bias={"42": -1},
        ),
        (says("Hi."),),
    ),
}
