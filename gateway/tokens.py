"""Tokens without a tokenizer: about how many are these, and at most how many?

Estimates are charged, flagged `estimated`, where a provider sent no usage. Bounds are reserved
before a call. Both walk the body once; neither serialises it nor looks into base64.

Media count by figures, because their size in tokens depends on the model:

| part | estimate | bound | from |
|---|---|---|---|
| image, `detail: low` | 85 | 3,000 | OpenAI: 85 (gpt-4o), 2,833 (gpt-4o-mini) |
| image | 765 | 50,000 | 1024² at gpt-4o; 8 tiles at gpt-4o-mini are 48,169 |
| audio, in base64 characters | 1 per 1,000 | 1 per 32 | Google: 32 a second; 128 and 8 kbit/s |
| anything else (file, video, audio by reference) | 3,000 | 250,000 | two PDF pages; a window |

Where a model has `max_image_tokens`, an image is bound by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.targets import Model

_IMAGE_LOW, _IMAGE_LOW_BOUND = 85, 3_000
_IMAGE, _IMAGE_BOUND = 765, 50_000
_FILE, _FILE_BOUND = 3_000, 250_000
_AUDIO_CHARACTERS, _AUDIO_CHARACTERS_BOUND = 1_000, 32

# Role and separators of a message: 3 to 5 in OpenAI's format, 20 at most in templates seen.
_MESSAGE, _MESSAGE_BOUND = 4, 32
CHOICE_BOUND = _MESSAGE_BOUND
"""At least as many tokens as a choice has beside its text."""
# Punctuation, and in a bound indentation, around each item of a JSON value.
_JSON_ITEM, _JSON_ITEM_BOUND = 1, 24
# What a provider puts before the tools: Anthropic's own prompt has up to 804 tokens.
_TOOLS, _TOOLS_BOUND = 16, 1_500

# Callers may ask for any number; no answer is longer, and what one costs must fit the ledger.
_LONGEST_ANSWER = 10**9

_SCHEMAS = ("tools", "functions", "response_format", "tool_choice")
_MESSAGE_TEXTS = frozenset({"role", "name", "tool_call_id"})
_MESSAGE_JSON = frozenset(
    {"tool_calls", "function_call", "reasoning_content", "thinking_blocks", "refusal"}
)


def estimate_text_tokens(text: str) -> int:
    """About 4 ASCII characters a token, and 1.5 others (CJK, Cyrillic, emoji)."""
    ascii_characters = len(text)
    if not text.isascii():
        ascii_characters = len(text.encode("ascii", "ignore"))
    twelfths = 3 * ascii_characters + 8 * (len(text) - ascii_characters)
    return -(-twelfths // 12)


def estimate_prompt_tokens(body: Mapping[str, Any]) -> int:
    """About how many tokens a chat completion request's prompt has."""
    return _ESTIMATE.prompt(body)


def bound_prompt_tokens(body: Mapping[str, Any], max_image_tokens: int | None = None) -> int:
    """At least as many tokens as the prompt can have: a token is at least one byte of UTF-8."""
    if max_image_tokens is None:
        return _BOUND.prompt(body)
    low = min(max_image_tokens, _IMAGE_LOW_BOUND)
    return _Bound(image=max_image_tokens, image_low=low).prompt(body)


def asked_completion_tokens(body: Mapping[str, Any]) -> int | None:
    """The longest answer that the caller asked for. The limit has two names, and some servers know
    only one of them: of two limits the larger may be the one that is obeyed.
    """
    limit, older = body.get("max_completion_tokens"), body.get("max_tokens")
    if isinstance(limit, int) and isinstance(older, int):
        return max(limit, older)
    return limit or older or None


def _choices(body: Mapping[str, Any]) -> int:
    """How many answers are written: those that the best are chosen from may be charged too."""
    choices, chosen_from = body.get("n") or 1, body.get("best_of")
    return max(choices, chosen_from) if isinstance(chosen_from, int) else choices


def bound_completion_tokens(body: Mapping[str, Any], model: Model) -> int | None:
    """At least as many tokens as the whole answer can have; None where nothing limits it.

    Each of `n` choices is limited by the caller, else by the model. Of a predicted output, what
    the model rejects is charged beside that.
    """
    limit = asked_completion_tokens(body) or model.max_completion_tokens or model.context_window
    if not isinstance(limit, int):
        return None
    return answer_tokens(body, limit)


def answer_tokens(body: Mapping[str, Any], limit: int) -> int:
    """At most as many as an answer has whose choices have `limit` tokens each."""
    tokens = limit * _choices(body)
    if isinstance(predicted := body.get("prediction"), Mapping):
        tokens += _BOUND.content(predicted.get("content"))
    return min(tokens, _LONGEST_ANSWER)


def bound_delta_tokens(delta: Mapping[str, Any]) -> int:
    """At least as many tokens as a piece of a choice has, but for what is not shown.

    Texts count their bytes wherever they stand: content, arguments of tools, reasoning, refusals.
    """
    total = 0
    pending: list[object] = [*delta.values()]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            total += _BOUND.text(item)
        elif isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return total


@dataclass(frozen=True, slots=True)
class _Estimate:
    """How much each part of a prompt counts."""

    message: int = _MESSAGE
    json_item: int = _JSON_ITEM
    tools: int = _TOOLS
    image_low: int = _IMAGE_LOW
    image: int = _IMAGE
    file: int = _FILE
    audio_characters: int = _AUDIO_CHARACTERS

    def text(self, text: str) -> int:
        return estimate_text_tokens(text)

    def prompt(self, body: Mapping[str, Any]) -> int:
        total = self.message  # the answer's own beginning
        for message in _mappings(body.get("messages")):
            total += self._message(message)
        for name in _SCHEMAS:
            if body.get(name):
                total += self.tools + self.json(body[name])
        return total

    def _message(self, message: Mapping[str, Any]) -> int:
        total = self.message
        for name, value in message.items():
            if name == "content":
                total += self.content(value)
            elif name in _MESSAGE_TEXTS:
                total += self.text(value) if isinstance(value, str) else 0
            elif name in _MESSAGE_JSON and value:
                total += self.json(value)
            elif name == "audio" and value:
                total += self.file  # an earlier spoken answer, by its id
        return total

    def content(self, content: object) -> int:
        """A message's text, or its parts."""
        if isinstance(content, str):
            return self.text(content)
        return sum(self._part(part) for part in _mappings(content))

    def _part(self, part: Mapping[str, Any]) -> int:
        kind = part.get("type")
        for name in ("text", "refusal"):
            if kind == name and isinstance(text := part.get(name), str):
                return self.text(text)
        if kind in ("image_url", "image"):
            image = part.get("image_url")
            low = isinstance(image, dict) and image.get("detail") == "low"
            return self.image_low if low else self.image
        if kind == "input_audio":
            return self._audio(part.get("input_audio"))
        return self.file

    def _audio(self, audio: object) -> int:
        data = audio.get("data") if isinstance(audio, dict) else None
        return -(-len(data) // self.audio_characters) if isinstance(data, str) else self.file

    def json(self, value: object) -> int:
        """A JSON value as a template may write it out, counted without writing it."""
        total = 0
        pending = [value]
        while pending:
            item = pending.pop()
            total += self.json_item
            if isinstance(item, str):
                total += self.text(item)
            elif isinstance(item, dict):
                pending += item.keys()
                pending += item.values()
            elif isinstance(item, list):
                pending += item
        return total


@dataclass(frozen=True, slots=True)
class _Bound(_Estimate):
    """The same walk with the highest figures."""

    message: int = _MESSAGE_BOUND
    json_item: int = _JSON_ITEM_BOUND
    tools: int = _TOOLS_BOUND
    image_low: int = _IMAGE_LOW_BOUND
    image: int = _IMAGE_BOUND
    file: int = _FILE_BOUND
    audio_characters: int = _AUDIO_CHARACTERS_BOUND

    def text(self, text: str) -> int:
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


_ESTIMATE, _BOUND = _Estimate(), _Bound()


def _mappings(values: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(values, list):
        yield from (value for value in values if isinstance(value, dict))
