"""Symptoms: which names and phrases of providers mean more than their status?

A table per class. Names are folded (`fold`): codes, types, Google's statuses and reasons, AWS's
classes. Phrases are looked for in messages only of providers that name nothing. Sources: the
providers' error pages, and the bodies collected in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import (
    ContentFiltered,
    ContextWindowExceeded,
    Overloaded,
    ProviderAuthentication,
    QuotaExceeded,
    RateLimited,
    ToolCallInvalid,
    UpstreamFailure,
    UpstreamModelNotFound,
)
from gateway.upstream.complaint import Complaint, fold

Failure = type[UpstreamFailure]


def _names(text: str) -> frozenset[str]:
    return frozenset(fold(name) for name in text.split())


def _phrases(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_CONTEXT_NAMES = _names(
    "context_length_exceeded context_window_exceeded context_window_exceeded_error "
    "exceed_context_size_error model_max_prompt_tokens_exceeded max_prompt_tokens_exceeded"
)
_CONTEXT_PHRASES = _phrases(
    r"(prompt|input) is too long",
    r"maximum (context|prompt) length",
    r"context (length|window|size|limit)",
    r"input token count",
    r"too many (input )?tokens",
    r"exceeds? the maximum number of (input )?tokens",
    r"longer than the model",
    r"exceeded model token limit",
    r"tokens \+ .max_new_tokens. must be",
    r"tokens in request more than max",
    r"reduce the length of (the|your) (messages|prompt|input)",
)
_FILTER_NAMES = _names(
    "content_filter content_filtered content_policy_violation ResponsibleAIPolicyViolation "
    "data_inspection_failed moderation_blocked sensitive_content"
)
_FILTER_PHRASES = _phrases(
    r"content filter(ing)? policy",
    r"content management policy",
    r"violat\w* (our )?(usage (policy|guidelines)|content policy)",
    r"content exists risk",
    r"blocked by content filter",
    r"flagged by (our )?(moderation|safety)",
    r"rejected (as a result of|by) (our )?safety system",
)
_QUOTA_NAMES = _names(
    "insufficient_quota billing_error billing_hard_limit_reached billing_not_active "
    "exceeded_current_quota_error insufficient_balance insufficient_credits payment_required "
    "billing_disabled ServiceQuotaExceededException quota_exceeded"
)
_QUOTA_PHRASES = _phrases(
    r"credit balance is too low",
    r"exceeded your current quota",
    r"insufficient (balance|credits?|funds|quota)",
    r"(used all|out of|not enough|run out of) (available )?credits",
    r"(monthly )?spending limit",
    r"api usage limits",
    r"requires billing|billing (is )?(not|disabled)",
)
_KEY_NAMES = _names(
    "invalid_api_key authentication_error unauthenticated api_key_invalid api_key_expired "
    "UnrecognizedClientException InvalidSignatureException ExpiredTokenException "
    "IncompleteSignature IncompleteSignatureException MissingAuthenticationToken "
    "MissingAuthenticationTokenException InvalidClientTokenId SignatureDoesNotMatch"
)
_KEY_PHRASES = _phrases(
    r"api[ _-]?key (is )?(not valid|invalid|expired|missing)",
    r"(invalid|incorrect|missing|expired) (x-)?api[ _-]?(key|token)",
    r"security token included in the request is (invalid|expired)",
)
_MODEL_NAMES = _names(
    "model_not_found model_not_available model_decommissioned invalid_model DeploymentNotFound "
    "OperationNotSupported_model model_deprecated"
)
_MODEL_PHRASES = _phrases(
    r"not a valid model id",
    r"model identifier is invalid",
    r"^invalid model",
    r"model .{1,200}(does not exist|not found|is not available|has been decommissioned)",
)
_RATE_NAMES = _names(
    "rate_limit_exceeded rate_limit_error ThrottlingException TooManyRequestsException "
    "rate_limited too_many_requests"
)
_BUSY_NAMES = _names("overloaded_error overloaded engine_overloaded engine_overloaded_error")
_TOOL_NAMES = _names("tool_use_failed")


def symptom(status: int, said: Complaint) -> Failure | None:
    """The class that the body tells for this status, or None: then the status decides."""
    for statuses, cls, names, phrases in _SYMPTOMS:
        if status in statuses and (
            not names.isdisjoint(said.names)
            or (phrases is not None and phrases.search(said.message) is not None)
        ):
            return _unless_it_passes(cls, said)
    return None


_REFUSED = frozenset({400, 403, 404, 413, 422})
_MALFORMED = frozenset({400, 413, 422})
_LIMITED = frozenset({400, 403, 429})
_BROKEN = frozenset({500, 502})

# The first that fits decides. Statuses: where a provider is known to send the class.
_SYMPTOMS: tuple[tuple[frozenset[int], Failure, frozenset[str], re.Pattern[str] | None], ...] = (
    (_LIMITED, QuotaExceeded, _QUOTA_NAMES, _QUOTA_PHRASES),
    (_MALFORMED | {429}, RateLimited, _RATE_NAMES, None),  # Groq: 413 for tokens per minute
    (_REFUSED, ContentFiltered, _FILTER_NAMES, _FILTER_PHRASES),
    (_MALFORMED, ContextWindowExceeded, _CONTEXT_NAMES, _CONTEXT_PHRASES),
    (frozenset({400, 403}), ProviderAuthentication, _KEY_NAMES, _KEY_PHRASES),
    (frozenset({400, 403, 404}), UpstreamModelNotFound, _MODEL_NAMES, None),
    (frozenset({400, 404}), UpstreamModelNotFound, frozenset(), _MODEL_PHRASES),
    (frozenset({400}), ToolCallInvalid, _TOOL_NAMES, None),
    (_BROKEN, ContextWindowExceeded, _CONTEXT_NAMES, None),
    (_BROKEN | {429}, Overloaded, _BUSY_NAMES, None),
)


def _unless_it_passes(cls: Failure, said: Complaint) -> Failure:
    """Google calls a limit per minute a quota too: one that passes soon is a rate limit."""
    if cls is not QuotaExceeded or not any("retryDelay" in detail for detail in said.details):
        return cls
    return cls if any(_per_day(detail) for detail in said.details) else RateLimited


def _per_day(detail: Mapping[str, Any]) -> bool:
    violations = detail.get("violations")
    if not isinstance(violations, Sequence):
        return False
    return any(
        isinstance(violation, Mapping) and "PerDay" in str(violation.get("quotaId"))
        for violation in violations
    )


# In-band errors carry a name instead of a status: Anthropic's, OpenAI's, Google's, AWS's.
_STATUS_OF: dict[str, int] = {
    fold(name): status
    for status, names in {
        400: "invalid_request_error invalid_argument failed_precondition ValidationException "
        "bad_request_error BadRequestError out_of_range",
        401: "authentication_error unauthenticated invalid_api_key",
        403: "permission_error permission_denied AccessDeniedException",
        404: "not_found_error not_found model_not_found ResourceNotFoundException",
        413: "request_too_large",
        422: "unprocessable_entity",
        424: "ModelErrorException ModelStreamErrorException",
        429: "rate_limit_error rate_limit_exceeded resource_exhausted ThrottlingException "
        "insufficient_quota tokens requests",
        500: "api_error server_error internal internal_server_error InternalServerException",
        503: "unavailable ServiceUnavailableException service_unavailable",
        504: "timeout_error timeout deadline_exceeded ModelTimeoutException",
        529: "overloaded_error overloaded",
    }.items()
    for name in names.split()
}


def in_band_status(names: frozenset[str]) -> int:
    """The status that an error inside a stream would have had; 500 where it names none."""
    return next((_STATUS_OF[name] for name in sorted(names) if name in _STATUS_OF), 500)
