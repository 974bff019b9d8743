"""Evidence: what did the provider really send?

litellm skips broken lines, drops errors inside streams, and adds a `stop` and a usage of its own
where the provider sent none. `Evidence` reads the provider's bytes as they pass by, in whichever
of the wire formats below they come, and knows afterwards

- whether an answer was brought to its end (`finished`), and of which choices how;
- whether the provider counted tokens (`counted`);
- the first thing that was wrong: an error inside the stream, or a line that is no JSON.

Server-sent events: OpenAI, Azure, Mistral, Anthropic, Gemini, Cohere. JSON lines: Cohere, Ollama.
AWS frames: Bedrock. One JSON document: everything unstreamed, and streams that litellm fakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.upstream.library.framing import Wrong, reader

JSON = Mapping[str, Any]

# Gemini's way to say that the model's tool call was no tool call.
_BAD_TOOL_CALL = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"})

_ENDINGS = frozenset({"message-end", "response.completed", "response.incomplete"})
_HEAD = ("id", "created", "model")
_USAGE_IN = {"message_start": "message", "message-end": "delta", "response.completed": "response"}
_USAGES = ("usage", "usageMetadata", "meta", "prompt_eval_count", "token_usage")


class Evidence:
    """What is known so far of one answer. `feed` the bytes in order, then `close`.

    `recognised` says that the format is one of ours: only then a missing end means anything.
    `wrong` is the first fault. `head` is what the provider calls its answer and its model.
    """

    __slots__ = ("_done", "_open", "_reader", "counted", "head", "reasons", "recognised", "wrong")

    def __init__(self, content_type: str, max_line_bytes: int, max_body_bytes: int) -> None:
        self.recognised = False
        self.counted = False
        self.wrong: Wrong | None = None
        self.head: dict[str, Any] = {}
        self.reasons: dict[int, str] = {}  # OpenAI's format only: by choice
        self._open: set[int] = set()
        self._done = False
        self._reader = reader(content_type, self, max_line_bytes, max_body_bytes)

    @property
    def finished(self) -> bool:
        """Did the provider itself say that its answer is complete?"""
        return (self._done or bool(self.reasons)) and not self._open

    def feed(self, block: bytes) -> int:
        """Read a block; how many of its bytes come before the first fault (all, if none)."""
        return self._reader.feed(block)

    def close(self) -> None:
        """No more bytes will come."""
        self._reader.close()

    def look(self, data: object) -> bool:
        """Read one JSON object; False if it carries a fault."""
        if not isinstance(data, dict):
            return True
        if error := data.get("error"):
            self.wrong = data if isinstance(error, dict | str) else {"error": {}}
            return False
        if any(data.get(name) for name in _USAGES):
            self.counted = True
        choices = data.get("choices")
        if isinstance(choices, list):
            if not self.head:
                self.head = {name: data[name] for name in _HEAD if data.get(name)}
            return self._choices(choices)
        candidates = data.get("candidates")
        if isinstance(candidates, list):
            if version := data.get("modelVersion"):
                self.head = {"model": version}
            return self._candidates(candidates)
        self._other(data)
        return self.wrong is None

    def _choices(self, choices: list[Any]) -> bool:
        """OpenAI's: every choice that was begun has to be finished."""
        self.recognised = True
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            index, reason = choice.get("index", 0), choice.get("finish_reason")
            if reason == "error":
                self.wrong = choice if choice.get("error") else {"error": {"type": "server_error"}}
                return False
            if reason:
                self.reasons[index] = reason
                self._open.discard(index)
            elif index not in self.reasons:
                self._open.add(index)
        return True

    def _candidates(self, candidates: list[Any]) -> bool:
        """Gemini's."""
        self.recognised = True
        for candidate in candidates:
            reason = candidate.get("finishReason") if isinstance(candidate, dict) else None
            if reason in _BAD_TOOL_CALL:
                self.wrong = "tool call"
                return False
            self._done = self._done or bool(reason and reason != "FINISH_REASON_UNSPECIFIED")
        return True

    def _other(self, data: JSON) -> None:
        """Anthropic's, Cohere's, OpenAI's Responses', Bedrock's and Ollama's ways to end."""
        kind = data.get("type")
        if isinstance(kind, str):
            self.recognised = True
            delta = data.get("delta")
            if kind in _ENDINGS or (
                kind == "message_delta" and isinstance(delta, dict) and delta.get("stop_reason")
            ):
                self._done = True
            if kind == "response.failed":
                self.wrong = data.get("response") or {"error": {}}
        if data.get("stop_reason") or data.get("stopReason") or data.get("finish_reason"):
            self._done = self.recognised = True
        feedback = data.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._done = self.recognised = True
        if isinstance(data.get("done"), bool):
            self.recognised = True
            self._done = self._done or data["done"]
        inner = data.get(_USAGE_IN.get(str(kind), ""))
        if isinstance(inner, dict):
            self.counted = self.counted or bool(inner.get("usage"))
            if kind == "message_start" and inner.get("model"):
                self.head = {"model": inner["model"]}

    def frame(self, kind: str) -> None:
        """AWS's: the event's kind stands in the frame's headers."""
        self.recognised = self.recognised or kind != "chunk"
        self._done = self._done or kind == "messageStop"
