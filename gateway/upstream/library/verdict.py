"""Verdict: which failure did an attempt end with?

In this order: what the provider's own bytes say, the status of its answer, what broke on the
wire, and, only where nothing was sent, what litellm says about the request.
"""

from __future__ import annotations

import asyncio
import re

import httpx

from gateway.errors import (
    ConnectionFailed,
    InvalidConfiguration,
    InvalidPrompt,
    ResponseParsing,
    ServerError,
    ToolCallInvalid,
    UpstreamFailure,
    UpstreamTimeout,
)
from gateway.redact import redact
from gateway.targets import Target
from gateway.upstream.failures import (
    failure_from_event,
    failure_from_response,
    failure_of,
    secrets_of,
)
from gateway.upstream.library.framing import Wrong

# litellm's own error texts begin with its class and the provider's.
_PREFIX = re.compile(r"^(litellm\.\w+: )+(\w+(Exception|Error) - )?")

_REMOTE_MEDIA = (
    "'{name}' takes images and files only inline, and the gateway does not fetch addresses. "
    "Send the content as a data: URL."
)
_UNSUPPORTED = "'{name}' does not support the parameter{s} {names}. Leave {it} out."


def of_evidence(wrong: Wrong, target: Target, *, started: bool) -> UpstreamFailure:
    """What was wrong in the answer itself; `started`: after the answer had begun."""
    if wrong == "tool call":
        return failure_of(ToolCallInvalid, target)
    if isinstance(wrong, str):
        return failure_of(ResponseParsing, target)
    return failure_from_event(wrong, target, started=started)


def of_wire(error: Exception, target: Target, *, answered: bool) -> UpstreamFailure:
    """What broke between the provider and us, before or after the answer's head."""
    if isinstance(error, httpx.TimeoutException):
        failure = failure_of(UpstreamTimeout, target)
        failure.billable = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
        return failure
    if answered:
        return failure_of(ResponseParsing, target)
    failure = failure_of(ConnectionFailed, target)
    failure.billable = not isinstance(error, httpx.ConnectError)  # it was sent: who knows
    return failure


def of_library(error: Exception, target: Target) -> UpstreamFailure:
    """What litellm says of a request that it did not send, or sent where we can't watch."""
    kind = type(error).__name__
    if kind == "UnsupportedParamsError":
        return _unsupported(error, target)
    status = getattr(error, "status_code", None)
    if kind in ("Timeout", "APITimeoutError") or isinstance(error, asyncio.TimeoutError):
        return failure_of(UpstreamTimeout, target)
    # litellm dresses bugs and surprises of its own up as a 500.
    if not isinstance(status, int) or kind in ("APIConnectionError", "InternalServerError"):
        return failure_of(InvalidConfiguration, target)
    if status >= 500:
        return failure_of(ServerError, target)
    message = _PREFIX.sub("", str(getattr(error, "message", "")))
    return failure_from_response(status, {}, {"message": message}, target)


def of_remote_media(target: Target) -> UpstreamFailure:
    """The request names an address that litellm would have fetched in our name."""
    return InvalidPrompt(_REMOTE_MEDIA.format(name=target.name), param="messages")


def _unsupported(error: Exception, target: Target) -> UpstreamFailure:
    """litellm writes `… does not support parameters: ['logit_bias'], for model=…` and kin."""
    text = _PREFIX.sub("", str(getattr(error, "message", error)))
    listed = re.search(r"parameters: [\[{]([^\]}]*)", text)
    names = re.findall(r"'(\w+)'", listed[1])[:5] if listed else []
    if not names:
        first_line = text.split("To drop", 1)[0]
        return InvalidPrompt(redact(first_line, secrets_of(target)), code="unsupported_parameter")
    many = len(names) > 1
    message = _UNSUPPORTED.format(
        name=target.name,
        names=", ".join(f"'{name}'" for name in names),
        s="s" if many else "",
        it="them" if many else "it",
    )
    return InvalidPrompt(message, param=names[0], code="unsupported_parameter")
