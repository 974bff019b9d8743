"""The chat completion request as a table: which fields are known, and of which type are they?

Types only, as in OpenAI's API reference: which values make sense is for the provider to say.
Fields that are not named here pass as they are, at every level.
"""

from __future__ import annotations

from typing import Any

from gateway.wire.fault import Fault
from gateway.wire.schema import (
    array,
    boolean,
    integer,
    label,
    mapping,
    mapping_of,
    number,
    record,
    string,
    string_or,
    tagged,
    typed,
    whole,
)

MAX_MODEL_NAME = 256

# ------------------------------------------------------------------------- content

_PART = tagged(
    "type",
    {
        "text": record({"text": string}),
        "refusal": record({"refusal": string}),
        "image_url": record({"image_url": record({"url": string}, {"detail": string})}),
        "input_audio": record({"input_audio": record({"data": string, "format": string})}),
        "file": record({"file": mapping}),
    },
    other=mapping,
)
_PARTS = "a string or an array of content parts"
_CONTENT = string_or(_PARTS, list, array(_PARTS, _PART))

# ------------------------------------------------------------------------ messages

_FUNCTION_CALL = record({"name": string, "arguments": string})
_TOOL_CALL = tagged(
    "type",
    {
        "function": record({"id": string, "function": _FUNCTION_CALL}),
        "custom": record({"id": string, "custom": record({"name": string, "input": string})}),
    },
    other=record({"id": string}),
)
_ASSISTANT = record(
    {},
    {
        "content": _CONTENT,
        "name": string,
        "refusal": string,
        "audio": mapping,
        "tool_calls": array("an array of tool calls", _TOOL_CALL),
        "function_call": _FUNCTION_CALL,
    },
)
_SAYS_NOTHING = frozenset({"role", "name", "content"})


def _assistant(value: Any) -> None:
    _ASSISTANT(value)
    if value.get("content") is None and all(
        value[key] is None for key in value.keys() - _SAYS_NOTHING
    ):
        # Any other field will do: `tool_calls`, `refusal`, `audio`, or a provider's own.
        raise Fault(
            "Invalid value for {param}: expected a string or an array of content parts, or a "
            "message with 'tool_calls'.",
            "invalid_value",
            "content",
        )


_SPOKEN = record({"content": _CONTENT}, {"name": string})
_MESSAGE = tagged(
    "role",
    {
        "system": _SPOKEN,
        "developer": _SPOKEN,
        "user": _SPOKEN,
        "assistant": _assistant,
        "tool": record({"content": _CONTENT, "tool_call_id": string}),
        "function": record({"name": string}, {"content": _CONTENT}),
    },
)

# --------------------------------------------------------------------------- tools

_FUNCTION = record(
    {"name": string}, {"description": string, "parameters": mapping, "strict": boolean}
)
_NAMED = record({"name": string})
_TOOL = tagged(
    "type",
    {"function": record({"function": _FUNCTION}), "custom": record({"custom": _NAMED})},
    other=mapping,
)
_TOOL_CHOICE = tagged(
    "type",
    {"function": record({"function": _NAMED}), "custom": record({"custom": _NAMED})},
    other=mapping,
)
_RESPONSE_FORMAT = tagged(
    "type",
    {
        "json_schema": record(
            {
                "json_schema": record(
                    {"name": string},
                    {"description": string, "schema": mapping, "strict": boolean},
                )
            }
        )
    },
    other=mapping,
)

# ------------------------------------------------------------------------ the body

_STRINGS = array("an array of strings", string)
_A_STRING_OR_STRINGS = "a string or an array of strings"
_POSITIVE = whole(1)

CHAT = record(
    {
        "model": label(MAX_MODEL_NAME),
        "messages": array("an array of messages", _MESSAGE, least=1),
    },
    {
        "audio": mapping,
        "frequency_penalty": number,
        "function_call": string_or("a string or an object", dict, _NAMED),
        "functions": array("an array of functions", _FUNCTION),
        "logit_bias": mapping_of("an object of numbers", number),
        "logprobs": boolean,
        "max_completion_tokens": _POSITIVE,
        "max_tokens": _POSITIVE,
        "metadata": mapping,
        "modalities": _STRINGS,
        "n": whole(1, 128),
        "parallel_tool_calls": boolean,
        "prediction": record({"type": string}, {"content": _CONTENT}),
        "presence_penalty": number,
        "prompt_cache_key": string,
        "prompt_cache_retention": string,
        "reasoning_effort": string,
        "response_format": _RESPONSE_FORMAT,
        "safety_identifier": string,
        "seed": integer,
        "service_tier": string,
        "stop": string_or(_A_STRING_OR_STRINGS, list, array(_A_STRING_OR_STRINGS, string)),
        "store": boolean,
        "stream": boolean,
        "stream_options": record({}, {"include_usage": boolean}),
        "temperature": number,
        "tool_choice": string_or("a string or an object", dict, _TOOL_CHOICE),
        "tools": array("an array of tools", _TOOL),
        "top_logprobs": integer,
        "top_p": number,
        "user": string,
        "verbosity": string,
        "web_search_options": mapping,
    },
)

# ----------------------------------------------------------- the gateway's controls


def _seconds(value: Any) -> None:
    number(value)
    if value <= 0:
        raise Fault("Invalid {param}: expected seconds above 0.", "invalid_value")


CONTROLS = record(
    {},
    {
        "deadline_s": _seconds,
        "tags": array("an array of strings", label(64), most=16),
        "cache": typed("a boolean or a string", bool, str),
        "cache_namespace": label(64),
    },
    closed=True,
)
