"""Counting: how many tokens does this prompt have for a model, message by message?

For OpenAI's models it is their published formula over their own encodings: 3 tokens a message and
1 more for a name, 3 for the answer's beginning, and the costs of a tool's lines [1]. For others a
ratio of characters is taken, low enough to count rather too many tokens than too few.

What has no length in text counts by a figure: an image as large as it can get at high detail, a
file as two pages, audio by its base64.

[1] OpenAI cookbook, "How to count tokens with tiktoken", sections 6 and 7.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.config import Context
from gateway.targets import Model
from gateway.tokenizers import count_tokens, is_loaded, load

JSON = dict[str, Any]

_REPLY = 3
_MESSAGE, _MESSAGE_BY_RATIO = 3, 8
_NAME = 1
_TOOL_CALL = 8
_FILE = 3_000
_AUDIO_CHARACTERS = 160  # 32 tokens a second (Google), of MP3 at 32 kbit/s in base64
_PROPERTIES, _PROPERTY, _ENUM, _ENUM_ITEM, _TOOLS_END = 3, 3, -3, 3, 12
_TOOL = {"o200k_base": 7, "cl100k_base": 10}
_TOOLS_BY_RATIO = 350  # Anthropic's own words before tools

# Images at low and at high detail: OpenAI's guide. Others' stay below 1,600 (Anthropic).
_IMAGES = (
    (re.compile("gpt-4o-mini"), (2_833, 48_169)),
    (re.compile("gpt-4.1-nano"), (3_779, 3_779)),
    (re.compile("gpt-4.1-mini|gpt-5-(mini|nano)|o4-mini"), (3_779, 3_779)),
)
_IMAGE = (85, 1_600)

# A share of characters that are not ASCII above which text counts as CJK or mixed.
_MIXED = 1 / 8
# How far a count may be too high: an encoding's own count by its overheads, a ratio threefold.
_SURE, _SURE_BY_RATIO = 0.9, 1 / 3
# More characters than any text has for so many tokens need not be counted.
_CHARACTERS_PER_TOKEN = 16
_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTokens:
    """A prompt's tokens: each message's, and what is there without any (`fixed`).

    In truth it has no fewer than `least`, if it can be said at all.
    """

    fixed: int
    messages: tuple[int, ...]
    least: int

    @property
    def total(self) -> int:
        return self.fixed + sum(self.messages)

    def of(self, kept: Iterable[int]) -> int:
        """What is left with these messages only."""
        return self.fixed + sum(self.messages[index] for index in kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a model counts. Two models with equal measures need one count."""

    tokenizer: str | None
    characters_per_token: float
    mixed_characters_per_token: float
    image_low: int
    image: int

    @classmethod
    def of(cls, model: Model, settings: Context) -> Measure:
        own = model.characters_per_token
        images = (figures for name, figures in _IMAGES if name.search(model.name))
        low, high = next(images, _IMAGE)
        return cls(
            tokenizer=model.tokenizer,
            characters_per_token=own or settings.characters_per_token,
            mixed_characters_per_token=min(own or math.inf, settings.mixed_characters_per_token),
            image_low=low,
            image=high,
        )


async def count_prompt(body: JSON, measure: Measure, *, window: int, bound: int) -> PromptTokens:
    """Count `body`'s prompt. In a thread unless it is short, which its `bound` tells.

    Characters that cannot fit into `window` tokens anyway are not looked at one by one.
    """
    counter = _Counter(measure, window * _CHARACTERS_PER_TOKEN)
    if bound <= _AT_ONCE and is_loaded(measure.tokenizer):
        return counter.prompt(body)
    return await asyncio.to_thread(counter.prompt, body)


class _Counter:
    """One walk over one body."""

    def __init__(self, measure: Measure, most_characters: int) -> None:
        self._measure = measure
        self._left = most_characters
        self._counted = 0

    def prompt(self, body: JSON) -> PromptTokens:
        name = self._measure.tokenizer
        self._encoding = load(name) if name else None
        fixed = _REPLY + self._tools(body)
        if isinstance(form := body.get("response_format"), dict) and len(form) > 1:
            fixed += self._json(form)
        messages = body["messages"]
        tokens = [0] * len(messages)
        for index in _most_needed_first(messages):
            tokens[index] = self._message(messages[index])
        sure = _SURE if self._encoding else _SURE_BY_RATIO
        return PromptTokens(fixed=fixed, messages=tuple(tokens), least=int(self._counted * sure))

    # --------------------------------------------------------------------------- text

    def text(self, text: object) -> int:
        if not isinstance(text, str) or not text:
            return 0
        if len(text) <= self._left:
            return self._whole(text)
        head, rest = text[: self._left], text[self._left :]
        # Of what is not counted, each byte may be a token.
        return self._whole(head) + len(rest.encode("utf-8", "surrogatepass"))

    def _whole(self, text: str) -> int:
        self._left -= len(text)
        tokens = count_tokens(self._encoding, text) if self._encoding else self._by_ratio(text)
        self._counted += tokens
        return tokens

    def _by_ratio(self, text: str) -> int:
        if text.isascii():
            return math.ceil(len(text) / self._measure.characters_per_token)
        ascii_characters = len(text.encode("ascii", "ignore"))
        others = len(text) - ascii_characters
        if others > _MIXED * len(text):
            return math.ceil(len(text) / self._measure.mixed_characters_per_token)
        return math.ceil(
            ascii_characters / self._measure.characters_per_token
            + others / self._measure.mixed_characters_per_token
        )

    def _json(self, value: object) -> int:
        return self.text(value if isinstance(value, str) else orjson.dumps(value).decode())

    # ----------------------------------------------------------------------- messages

    def _message(self, message: JSON) -> int:
        total = _MESSAGE if self._encoding else _MESSAGE_BY_RATIO
        total += self.text(message.get("role")) + self._content(message.get("content"))
        if message.get("name"):
            total += _NAME + self.text(message["name"])
        for call in _mappings(message.get("tool_calls")):
            total += _TOOL_CALL + self._called(call.get("function") or call.get("custom"))
        if message.get("function_call"):
            total += _TOOL_CALL + self._called(message["function_call"])
        for name in ("refusal", "reasoning_content", "thinking_blocks"):
            if message.get(name):
                total += self._json(message[name])
        return total + (_FILE if message.get("audio") else 0)

    def _called(self, function: object) -> int:
        if not isinstance(function, dict):
            return 0
        return sum(self.text(function.get(name)) for name in ("name", "arguments", "input"))

    def _content(self, content: object) -> int:
        if isinstance(content, str):
            return self.text(content)
        return sum(self._part(part) for part in _mappings(content))

    def _part(self, part: Mapping[str, Any]) -> int:
        kind = part.get("type")
        if kind in ("text", "refusal"):
            return self.text(part.get(kind))
        if kind in ("image_url", "image"):
            image = part.get("image_url")
            low = isinstance(image, dict) and image.get("detail") == "low"
            return self._measure.image_low if low else self._measure.image
        audio = part.get("input_audio")
        data = audio.get("data") if isinstance(audio, dict) else None
        return -(-len(data) // _AUDIO_CHARACTERS) if isinstance(data, str) else _FILE

    # -------------------------------------------------------------------------- tools

    def _tools(self, body: JSON) -> int:
        tools = [*_mappings(body.get("tools"))]
        functions = [tool.get("function") or tool.get("custom") or tool for tool in tools]
        functions += _mappings(body.get("functions"))
        if not functions:
            return 0
        if self._encoding is None:
            return _TOOLS_BY_RATIO + sum(self._json(function) for function in functions)
        return _TOOLS_END + sum(self._function(function) for function in functions)

    def _function(self, function: Mapping[str, Any]) -> int:
        total = _TOOL[self._measure.tokenizer or "o200k_base"]
        total += self.text(f"{function.get('name')}:{_sentence(function.get('description'))}")
        total += self._properties(function.get("parameters"))
        rest = _without(function, "name", "description", "parameters", "strict")
        return total + (self._json(rest) if rest else 0)

    def _properties(self, schema: object) -> int:
        """A schema's properties, line by line; what the formula does not know counts as JSON."""
        if not isinstance(schema, dict):
            return 0
        properties = schema.get("properties")
        total = 0
        if isinstance(properties, dict) and properties:
            total += _PROPERTIES
            total += sum(self._property(name, value) for name, value in properties.items())
        rest = _without(
            schema, "type", "description", "enum", "properties", "required", "additionalProperties"
        )
        return total + (self._json(rest) if rest else 0)

    def _property(self, name: str, value: object) -> int:
        if not isinstance(value, dict):
            return _PROPERTY + self.text(name)
        total = _PROPERTY + self._properties(value)
        line = f"{name}:{value.get('type', '')}:{_sentence(value.get('description'))}"
        total += self.text(line)
        if isinstance(value.get("enum"), list):
            total += _ENUM
            total += sum(_ENUM_ITEM + self._json(item) for item in value["enum"])
        return total


def _most_needed_first(messages: list[JSON]) -> Iterator[int]:
    """Those that always stay, then from the end and the beginning in turn: `most` may run out."""
    others: deque[int] = deque()
    for index, message in enumerate(messages):
        if message.get("role") in ("system", "developer"):
            yield index
        else:
            others.append(index)
    while others:
        yield others.pop()
        if others:
            yield others.popleft()


def _sentence(text: object) -> str:
    return text.removesuffix(".") if isinstance(text, str) else ""


def _without(value: Mapping[str, Any], *names: str) -> JSON:
    return {name: item for name, item in value.items() if name not in names}


def _mappings(values: object) -> list[JSON]:
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []
