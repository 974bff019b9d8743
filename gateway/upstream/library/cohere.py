"""A reader for Cohere's stream: litellm's own takes each line for JSON and stops at `event:`.

Its `message-end` is not recognised either, and its tool calls have no place. This one turns
Cohere's events (https://docs.cohere.com/v2/docs/streaming) into OpenAI's chunks.
"""

from __future__ import annotations

from typing import Any

from litellm.llms.base_llm.base_model_iterator import BaseModelResponseIterator
from litellm.types.utils import ModelResponseStream

JSON = dict[str, Any]

_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}


class CohereStream(BaseModelResponseIterator):  # type: ignore[misc]  # types are not followed
    """Cohere's server-sent events as litellm's chunks."""

    def chunk_parser(self, chunk: JSON) -> Any:
        kind, delta = chunk.get("type"), chunk.get("delta") or {}
        message = delta.get("message") or {}
        found: JSON = {}
        if kind in ("content-start", "content-delta"):
            found = _content(message.get("content") or {})
        elif kind == "tool-plan-delta":
            found = {"reasoning_content": message.get("tool_plan")}
        elif kind in ("tool-call-start", "tool-call-delta"):
            found = {"tool_calls": [_call(chunk.get("index", 0), message.get("tool_calls") or {})]}
        ended = kind == "message-end"
        reason = _REASONS.get(str(delta.get("finish_reason")), "stop") if ended else None
        choice = {"index": 0, "delta": found, "finish_reason": reason}
        usage = _usage(delta.get("usage")) if ended else None
        return ModelResponseStream(choices=[choice], **({"usage": usage} if usage else {}))


def _content(content: JSON) -> JSON:
    if thinking := content.get("thinking"):
        return {"reasoning_content": thinking}
    return {"content": content.get("text") or ""}


def _call(index: int, call: JSON) -> JSON:
    function = call.get("function") or {}
    found: JSON = {"index": index, "type": "function", "function": {**function}}
    return {**found, "id": call["id"]} if call.get("id") else found


def _usage(usage: JSON | None) -> JSON | None:
    tokens = (usage or {}).get("tokens")
    if not tokens:
        return None
    sent, made = int(tokens.get("input_tokens") or 0), int(tokens.get("output_tokens") or 0)
    return {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}


def iterator(
    _config: Any, streaming_response: Any, sync_stream: bool, json_mode: Any = None
) -> Any:
    """Takes the place of `CohereV2ChatConfig.get_model_response_iterator`."""
    return CohereStream(streaming_response, sync_stream, json_mode)
