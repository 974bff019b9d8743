"""Every error a caller can receive.

SluiceError
├── Refusal                      ours: the call was not sent, or not sent again
│   ├── InvalidRequest           400  the body is not a chat completion request
│   │   ├── CapabilityMissing    400  no target of the model can do what is asked
│   │   └── ContextLengthExceeded  400  no target's context window holds the prompt
│   ├── InvalidKey               401  no, unknown, revoked or expired virtual key
│   ├── ModelNotAllowed          403  the key may not use this model
│   ├── AdminOnly                403  the route needs the admin key
│   ├── ForeignOrigin            403  a change in a session, but not from a page of our own
│   ├── ModelNotFound            404  no configured provider knows the model
│   │   └── ProviderNotFound     404  `provider/model` names no configured provider
│   ├── PathNotFound             404
│   ├── NotFound                 404  there is no such key, team, budget, …
│   ├── MethodNotAllowed         405
│   ├── Conflict                 409  what is there does not allow this change
│   ├── IdempotencyConflict      409  the Idempotency-Key was used for another body
│   ├── IdempotencyInProgress    409  its first call is running where it cannot be joined
│   ├── BodyTooLarge             413
│   ├── UnsupportedMediaType     415  a compressed body
│   ├── RateLimitExceeded        429  a limit of the key, team, model or targets is reached
│   ├── BudgetExceeded           429  a hard budget has no room for the call's worst case
│   │   └── CostUnbounded        400  a hard budget applies, and the call has no worst case
│   ├── ClientGone               499  never seen by anyone but the ledger
│   ├── InternalError            500
│   ├── Unavailable              503  the ledger or the key store cannot be reached
│   │   └── Draining             503  this process is about to exit
│   └── DeadlineExceeded         504  the call's own deadline, or its total limit
└── UpstreamFailure              theirs: one attempt failed; Retry decides by `kind`
    ├── ConnectionFailed         502  refused, DNS, TLS, dropped before an answer
    ├── UpstreamTimeout          504  connect, first event, idle, or provider's own 408/504
    ├── Overloaded               503  503 and 529
    ├── ServerError              5xx  its own status
    ├── ResponseParsing          502  cut off, unfinished, unparsable or too large
    ├── ToolCallInvalid          502  a tool call that is no tool call
    ├── RateLimited              429
    ├── QuotaExceeded            429  the provider's account is empty
    ├── ProviderAuthentication   502  the provider refuses the gateway's credential
    ├── ProviderPermission       502  the credential may not do this
    ├── UpstreamModelNotFound    404  the provider does not have the model
    ├── InvalidConfiguration     502  the lane could not even build the request
    ├── ContextWindowExceeded    400
    ├── InvalidPrompt            400  the provider refuses the request as malformed (400, 413, 422)
    └── ContentFiltered          400

`kind` names the class in configuration, metrics and the ledger. `code` is what clients
branch on. A client never receives 408: SDKs repeat it blindly.
Messages say what to do next and never contain a key, a prompt or an upstream address.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SluiceError(Exception):
    """An error with a defined answer.

    `message` is safe to show. `param` names the offending field in the caller's body.
    `retry_after_s` becomes `retry-after` and `retry-after-ms`; `should_retry` becomes
    `x-should-retry`, which OpenAI's SDKs obey before they look at the status.
    """

    kind: ClassVar[str] = "error"
    status: int = 500
    code: str | None = None
    type: str = "invalid_request_error"
    should_retry: bool | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status

    def body(self) -> dict[str, Any]:
        """The answer's body in OpenAI's shape."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """The headers that tell a client whether and when to come back."""
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(0, -int(-self.retry_after_s // 1)))
            headers["retry-after-ms"] = str(max(0, -int(-self.retry_after_s * 1000 // 1)))
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


class Refusal(SluiceError):
    """Ours: nothing was sent to a provider on account of this error."""

    kind = "refusal"


class InvalidRequest(Refusal):
    kind = "invalid_request"
    status = 400


class CapabilityMissing(InvalidRequest):
    kind = "capability_missing"
    code = "capability_missing"


class ContextLengthExceeded(InvalidRequest):
    kind = "context_length"
    code = "context_length_exceeded"


class InvalidKey(Refusal):
    kind = "invalid_key"
    status = 401
    code = "invalid_api_key"


class ModelNotAllowed(Refusal):
    kind = "model_not_allowed"
    status = 403
    code = "model_not_allowed"


class AdminOnly(Refusal):
    kind = "admin_only"
    status = 403
    code = "admin_only"


class ForeignOrigin(Refusal):
    kind = "foreign_origin"
    status = 403
    code = "foreign_origin"


class ModelNotFound(Refusal):
    kind = "model_not_found"
    status = 404
    code = "model_not_found"


class ProviderNotFound(ModelNotFound):
    kind = "provider_not_found"


class PathNotFound(Refusal):
    kind = "path_not_found"
    status = 404
    code = "path_not_found"


class NotFound(Refusal):
    kind = "not_found"
    status = 404
    code = "not_found"


class MethodNotAllowed(Refusal):
    kind = "method_not_allowed"
    status = 405
    code = "method_not_allowed"


class Conflict(Refusal):
    kind = "conflict"
    status = 409
    code = "conflict"
    should_retry = False


class IdempotencyConflict(Refusal):
    kind = "idempotency_conflict"
    status = 409
    code = "idempotency_key_reused"
    should_retry = False  # SDKs repeat a 409, and this one would come again


class IdempotencyInProgress(Refusal):
    kind = "idempotency_in_progress"
    status = 409
    code = "idempotency_in_progress"


class BodyTooLarge(Refusal):
    kind = "body_too_large"
    status = 413
    code = "body_too_large"


class UnsupportedMediaType(Refusal):
    kind = "unsupported_media_type"
    status = 415
    code = "unsupported_media_type"


class RateLimitExceeded(Refusal):
    kind = "rate_limit_exceeded"
    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"


class BudgetExceeded(Refusal):
    kind = "budget_exceeded"
    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    should_retry = False


class CostUnbounded(BudgetExceeded):
    kind = "cost_unbounded"
    status = 400
    code = "cost_unbounded"
    type = "invalid_request_error"


class ClientGone(Refusal):
    kind = "client_gone"
    status = 499
    code = "client_gone"


class InternalError(Refusal):
    kind = "internal_error"
    status = 500
    code = "internal_error"
    type = "server_error"


class Unavailable(Refusal):
    kind = "unavailable"
    status = 503
    code = "unavailable"
    type = "server_error"


class Draining(Unavailable):
    kind = "draining"
    code = "draining"


class DeadlineExceeded(Refusal):
    kind = "deadline_exceeded"
    status = 504
    code = "deadline_exceeded"
    type = "server_error"


class UpstreamFailure(SluiceError):
    """Theirs: one attempt at one target failed.

    `billable` is True when the provider may have done the work although no usage came back
    (a time-out, a cut answer): such an attempt is charged an estimate. An answer with an
    error status was refused before any work and costs nothing.
    """

    kind = "upstream"
    status = 502
    type = "server_error"
    billable: bool = False


class ConnectionFailed(UpstreamFailure):
    kind = "connection"
    code = "upstream_connection_failed"


class UpstreamTimeout(UpstreamFailure):
    kind = "timeout"
    status = 504
    code = "upstream_timeout"
    billable = True


class Overloaded(UpstreamFailure):
    kind = "overloaded"
    status = 503
    code = "upstream_overloaded"


class ServerError(UpstreamFailure):
    kind = "server_error"
    status = 500
    code = "upstream_server_error"


class ResponseParsing(UpstreamFailure):
    kind = "response_parsing"
    code = "upstream_response_invalid"
    billable = True


class ToolCallInvalid(ResponseParsing):
    kind = "tool_call"
    code = "upstream_tool_call_invalid"


class RateLimited(UpstreamFailure):
    kind = "rate_limit"
    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"


class QuotaExceeded(UpstreamFailure):
    kind = "quota_exceeded"
    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    should_retry = False


class ProviderAuthentication(UpstreamFailure):
    kind = "authentication"
    code = "provider_authentication_failed"
    should_retry = False


class ProviderPermission(UpstreamFailure):
    kind = "permission"
    code = "provider_permission_denied"
    should_retry = False


class UpstreamModelNotFound(UpstreamFailure):
    kind = "upstream_model_not_found"
    status = 404
    code = "model_not_found"
    type = "invalid_request_error"


class InvalidConfiguration(UpstreamFailure):
    kind = "invalid_configuration"
    code = "invalid_configuration"
    should_retry = False


class ContextWindowExceeded(UpstreamFailure):
    kind = "context_window"
    status = 400
    code = "context_length_exceeded"
    type = "invalid_request_error"


class InvalidPrompt(UpstreamFailure):
    kind = "invalid_prompt"
    status = 400
    code = "invalid_prompt"
    type = "invalid_request_error"


class ContentFiltered(UpstreamFailure):
    kind = "content_filter"
    status = 400
    code = "content_filter"
    type = "invalid_request_error"


def error_classes(root: type[SluiceError] = SluiceError) -> list[type[SluiceError]]:
    """Every class of the tree below `root`, parents first."""
    found = [root]
    for child in root.__subclasses__():
        found += error_classes(child)
    return found
