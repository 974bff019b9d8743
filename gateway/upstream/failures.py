"""The provider error map: what does a provider's failure mean to us?

Classified by status first, then by what the body names (code, type, Google's status and reason,
AWS's class), then by its message where providers name nothing; then nothing: the class of
litellm's exceptions is never asked, because it differs between providers for the same failure.

A provider's own message is passed on, redacted, only where it is the caller's business (the
prompt, its length, its content). All others get a message of ours that says what to do. A
provider's code is kept where it is one that clients branch on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import (
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    InvalidConfiguration,
    InvalidPrompt,
    Overloaded,
    ProviderAuthentication,
    ProviderPermission,
    QuotaExceeded,
    RateLimited,
    ResponseParsing,
    ServerError,
    ToolCallInvalid,
    UpstreamFailure,
    UpstreamModelNotFound,
    UpstreamTimeout,
)
from gateway.redact import redact
from gateway.targets import Target
from gateway.upstream.complaint import Complaint, complaint
from gateway.upstream.retry_after import wait_s
from gateway.upstream.symptoms import in_band_status, symptom

Failure = type[UpstreamFailure]

# What a status means when the body says nothing better. 408 is a time-out of theirs; 402 an empty
# account (DeepSeek, OpenRouter, Together); 498 a bad token (Cohere); 524 and 522 Cloudflare's
# time-outs; 424 Bedrock's failed model.
_BY_STATUS: dict[int, Failure] = {
    401: ProviderAuthentication,
    402: QuotaExceeded,
    403: ProviderPermission,
    404: UpstreamModelNotFound,
    405: InvalidConfiguration,
    406: InvalidConfiguration,
    407: InvalidConfiguration,
    408: UpstreamTimeout,
    409: ServerError,
    410: UpstreamModelNotFound,
    411: InvalidConfiguration,
    414: InvalidConfiguration,
    415: InvalidConfiguration,
    421: InvalidConfiguration,
    424: ServerError,
    425: ServerError,
    426: InvalidConfiguration,
    429: RateLimited,
    431: InvalidConfiguration,
    498: ProviderAuthentication,
    499: ServerError,
    503: Overloaded,
    504: UpstreamTimeout,
    522: UpstreamTimeout,
    524: UpstreamTimeout,
    529: Overloaded,
}

# The provider's text is the caller's business.
_CALLERS = (InvalidPrompt, ContextWindowExceeded, ContentFiltered)

_WAITING = (RateLimited, QuotaExceeded, Overloaded, ServerError, UpstreamTimeout)

# A provider's codes that clients know and that are kept as they are.
_KEPT: dict[Failure, frozenset[str]] = {
    ContextWindowExceeded: frozenset({"context_length_exceeded", "string_above_max_length"}),
    ContentFiltered: frozenset({"content_filter", "content_policy_violation", "invalid_prompt"}),
    QuotaExceeded: frozenset({"billing_hard_limit_reached", "billing_not_active"}),
}

_MESSAGES: dict[Failure, str] = {
    ConnectionFailed: "The provider of '{name}' could not be reached. Try again later.",
    UpstreamTimeout: "'{name}' did not answer in time. Try again, or ask for a shorter answer.",
    Overloaded: "'{name}' is overloaded. Try again later.",
    ServerError: "The provider of '{name}' failed on its side. Try again later.",
    ResponseParsing: "The answer of '{name}' was cut off or could not be read. Try again.",
    ToolCallInvalid: "'{name}' made a tool call that is none. Try again, or simplify the tools.",
    RateLimited: "The provider's rate limit for '{name}' is reached. Try again later.",
    QuotaExceeded: (
        "The quota or credit of the gateway's account at provider '{provider}' is used up. "
        "The gateway's operator has to raise it."
    ),
    ProviderAuthentication: (
        "Provider '{provider}' refused the gateway's credential. "
        "The gateway's operator has to check it."
    ),
    ProviderPermission: (
        "The gateway's credential at provider '{provider}' may not use '{name}'. "
        "The gateway's operator has to check its permissions."
    ),
    UpstreamModelNotFound: (
        "Provider '{provider}' does not have the model '{model}'. Check its name; "
        "if it is right, the gateway's operator has to check the provider's base_url."
    ),
    InvalidConfiguration: (
        "The request for '{name}' could not be made as configured. "
        "The gateway's operator has to check the provider's settings."
    ),
    ContextWindowExceeded: "The prompt is longer than the context window of '{name}'.",
    InvalidPrompt: "Provider '{provider}' refused the request for '{model}' as malformed.",
    ContentFiltered: "The content filter of '{name}' refused the request.",
}


def failure_from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes | Mapping[str, Any] | None,
    target: Target,
) -> UpstreamFailure:
    """The failure behind an answer whose status is not 2xx."""
    said = complaint(headers, body)
    failure = _failure(status, said, target)
    if isinstance(failure, _WAITING):
        failure.retry_after_s = wait_s(headers, said.details, time.time())
    return failure


def failure_from_event(
    data: Mapping[str, Any], target: Target, *, started: bool = True
) -> UpstreamFailure:
    """The failure behind an error object inside a stream, or inside a 200.

    `started`: had the provider begun to answer? Then what it did is billable.
    """
    said = complaint({}, data)
    failure = _failure(said.status or in_band_status(said.names), said, target)
    failure.billable = started
    if isinstance(failure, _WAITING):
        failure.retry_after_s = wait_s({}, said.details, time.time())
    return failure


def failure_of(
    cls: Failure, target: Target, *, status: int | None = None, param: str | None = None
) -> UpstreamFailure:
    """A failure of a known class with our message for it."""
    model, provider = target.model.name, target.provider.name
    message = _MESSAGES[cls].format(name=target.name, model=model, provider=provider)
    return cls(message, status=status, param=param)


def retry_after(
    headers: Mapping[str, str], body: bytes | Mapping[str, Any] | None, now: float
) -> float | None:
    """Seconds that the provider asks to wait, or None; `now` is unix seconds."""
    return wait_s(headers, complaint(headers, body).details, now)


def secrets_of(target: Target) -> tuple[str, ...]:
    """All that must not be repeated: the credential's parts, configured headers' values, and the
    path of the address, by which some proxies know whom they serve.
    """
    credential, provider = target.credential, target.provider
    path = filter(None, [urlsplit(provider.base_url or "").path])
    return (credential.secret, *credential.settings.values(), *provider.headers.values(), *path)


def _failure(status: int, said: Complaint, target: Target) -> UpstreamFailure:
    cls = symptom(status, said) or _by_status(status)
    failure = failure_of(cls, target, status=status if _own_status(cls, status) else None)
    if said.code in _KEPT.get(cls, ()) or (cls is InvalidPrompt and said.code):
        failure.code = said.code
    if isinstance(failure, _CALLERS):
        secrets = secrets_of(target)
        failure.param = redact(said.param, secrets) if said.param else None
        if message := redact(said.message, secrets):
            failure.message = message
            failure.args = (message,)
    return failure


def _by_status(status: int) -> Failure:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status >= 500:
        return ServerError
    # 3xx: redirects are not followed, they would take the key elsewhere. 1xx, 2xx: no failure.
    return InvalidPrompt if status >= 400 else InvalidConfiguration


def _own_status(cls: Failure, status: int) -> bool:
    """Is the provider's status ours too? Cloudflare's private ones (52x) are no one's."""
    return cls is ServerError and 500 <= status <= 511
