"""Attributes: what is told of a call and of an attempt, under which names?

The names are those of OpenTelemetry's semantic conventions (HTTP, and generative AI as of
1.42); what they have no name for begins with `sluice.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from gateway.cache.facts import Cached
from gateway.exchange import JSON, Call
from gateway.ledger import CallRecord
from gateway.record import NANO
from gateway.telemetry.answers import Answer
from gateway.telemetry.content import content_attributes
from gateway.trace import AttemptEnded
from gateway.usage import Usage

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]

_ROUTE = "/v1/chat/completions"
_LONGEST = 200

# By our kind of provider, where the conventions have a word of their own.
_PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_PARAMETERS: Mapping[str, tuple[str, type]] = {
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
}


def of_call(call: Call, record: CallRecord) -> Attributes:
    """Of the span of a whole call: a request to this server."""
    cached = call.trace.last(Cached)
    costs = [ended.cost_nano_usd for ended in call.trace.all(AttemptEnded)]
    return _known(
        {
            "http.request.method": "POST",
            "http.route": _ROUTE,
            "url.path": _ROUTE,
            "url.scheme": "http",
            "http.response.status_code": record.status,
            "error.type": record.error,
            "sluice.call_id": record.call_id,
            "sluice.key": record.key_id,
            "sluice.team": record.team,
            "sluice.tags": list(record.tags),
            "sluice.model": record.asked_model[:_LONGEST],
            "sluice.alias": record.alias,
            "sluice.target": record.target,
            "sluice.stream": record.stream,
            "sluice.attempts": record.attempts,
            "sluice.cache": cached.status if cached else None,
            "sluice.cost_usd": None if None in costs else sum(c or 0 for c in costs) / NANO,
        }
    )


def of_operation(kind: str, model: str, base_url: str | None) -> Attributes:
    """Where an attempt went: also the labels of its metrics. Nothing here is secret."""
    host, port = _server(base_url)
    return _known(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDERS.get(kind, kind),
            "gen_ai.request.model": model,
            "server.address": host,
            "server.port": port,
        }
    )


def of_request(body: JSON) -> Attributes:
    """The parameters of a request, without any text of its author's."""
    found: Attributes = {"gen_ai.request.stream": body.get("stream") is True}
    for name, (attribute, number) in _PARAMETERS.items():
        value = body.get(name)
        if type(value) in (int, float):
            found.setdefault(attribute, number(value))
    if type(count := body.get("n")) is int and count != 1:
        found["gen_ai.request.choice.count"] = count
    form = body.get("response_format")
    if isinstance(form, Mapping):
        found["gen_ai.output.type"] = "text" if form.get("type") == "text" else "json"
    return found


def of_answer(answer: Answer) -> Attributes:
    """What the provider said of its answer."""
    reasons = [reason for _, reason in sorted(answer.finish_reasons.items())]
    return _known(
        {
            "gen_ai.response.id": answer.id,
            "gen_ai.response.model": answer.model,
            "gen_ai.response.finish_reasons": reasons,
        }
    )


def of_content(body: JSON, answer: Answer) -> Attributes:
    """The messages themselves."""
    return {**content_attributes(body, answer.messages, answer.finish_reasons)}


def of_usage(usage: Usage) -> Attributes:
    return _known(
        {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
            "sluice.usage_source": usage.source,
        }
    )


@cache
def _server(base_url: str | None) -> tuple[str | None, int | None]:
    """Host and port; never what else an address may hold."""
    try:
        parts = urlsplit(base_url or "")
        return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None, None


def _known(attributes: Mapping[str, Any]) -> Attributes:
    known = {name: value for name, value in attributes.items() if value not in (None, "", [])}
    if "server.address" not in known:
        known.pop("server.port", None)
    return known
