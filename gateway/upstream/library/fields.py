"""Fields: what of the caller's body reaches litellm, and what does the target add?

litellm's call takes some 350 parameters, many of which steer litellm itself (`api_base` would send
our key elsewhere, `mock_response` would answer for free). So nothing is passed on that is not
named here:

- OpenAI's chat completion fields, by name. One that the model does not support is refused by
  litellm, and becomes a 400 that names it.
- A few fields that several other providers share (`top_k`, `thinking`, …).
- Unknown fields arrive as they are at providers that speak OpenAI's format, in the body. At the
  others they are ignored: no one can say what they would mean there, and a refusal would break
  aliases whose targets differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.exchange import Call
from gateway.targets import Provider, Target


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# OpenAI's fields that litellm takes by the same name and translates.
OPENAI = _words(
    """
    messages tools tool_choice parallel_tool_calls functions function_call response_format
    temperature top_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty
    logit_bias logprobs top_logprobs seed user reasoning_effort modalities audio prediction
    service_tier store web_search_options verbosity safety_identifier prompt_cache_key thinking
    """
)

# Other providers' fields that litellm hands to them, where the provider speaks its own format.
SHARED = _words(
    """
    top_k safety_settings guardrailConfig performanceConfig requestMetadata documents
    citation_options safety_mode
    """
)

# Handled by the lane, or by the gateway before it.
_OURS = frozenset({"model", "stream", "stream_options", "sluice"})

# litellm looks for these in a request's extra body and takes them for its own.
_STEERING_PREFIXES = ("litellm", "azure_", "aws_", "vertex_", "api_", "mock_", "_")
_STEERING = _words(
    "extra_body extra_headers extra_query headers timeout base_url cache caching drop_params"
)

# litellm expects the address of the endpoint itself where others take the API's root.
_PATHS = {"cohere_chat": "/v2/chat"}


def arguments(call: Call, target: Target, *, openai_wire: bool) -> dict[str, Any]:
    """The arguments of `litellm.acompletion` for one attempt.

    The operator's options come last: no caller's field can displace them.
    """
    body, provider = call.body, target.provider
    passed = OPENAI if openai_wire else OPENAI | SHARED
    given = {name: body[name] for name in body if name in passed}
    if call.stream:
        given["stream"] = True
        given["stream_options"] = {**_options(body, openai_wire), "include_usage": True}
    if openai_wire and (extra := _extra(body)):
        given["extra_body"] = extra
    if headers := _headers(call, provider):
        given["extra_headers"] = headers
    return {**given, **_address(target), **provider.options, **_FIXED}


# One attempt, no detours: `_skip_mcp_handler` keeps `tools` from asking for a missing module.
_FIXED: dict[str, Any] = {"max_retries": 0, "_skip_mcp_handler": True, "drop_params": False}


def _address(target: Target) -> dict[str, Any]:
    provider, credential = target.provider, target.credential
    address: dict[str, Any] = {
        "model": f"{provider.kind}/{target.model.name}",
        # Constant per provider: clients are kept by it. The real limits are the lane's own.
        "timeout": provider.limits.total_s,
        **credential.settings,
    }
    if credential.secret:
        address["api_key"] = credential.secret
    if provider.base_url:
        address["api_base"] = _endpoint(provider.kind, provider.base_url)
    return address


def _endpoint(kind: str, base_url: str) -> str:
    base_url, path = base_url.rstrip("/"), _PATHS.get(kind, "")
    return base_url if not path or base_url.endswith(path) else base_url + path


def _options(body: Mapping[str, Any], openai_wire: bool) -> Mapping[str, Any]:
    options = body.get("stream_options")
    return options if openai_wire and isinstance(options, Mapping) else {}


def _extra(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in body.items()
        if name not in OPENAI and name not in _OURS and not _steers(name)
    }


def _steers(name: str) -> bool:
    return name in _STEERING or name.startswith(_STEERING_PREFIXES)


def _headers(call: Call, provider: Provider) -> dict[str, str]:
    allowed = {name.lower() for name in provider.forward_headers}
    forwarded = {name: value for name, value in call.headers.items() if name in allowed}
    return {**forwarded, **provider.headers}
