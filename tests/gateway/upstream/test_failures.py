"""The provider error map, over the shapes and statuses that providers are known to send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import (
    ContentFiltered,
    ContextWindowExceeded,
    InvalidConfiguration,
    InvalidPrompt,
    Overloaded,
    ProviderAuthentication,
    ProviderPermission,
    QuotaExceeded,
    RateLimited,
    ServerError,
    ToolCallInvalid,
    UpstreamFailure,
    UpstreamModelNotFound,
    UpstreamTimeout,
    error_classes,
)
from gateway.targets import Credential, Model, Provider, Target
from gateway.upstream.failures import (
    failure_from_event,
    failure_from_response,
    failure_of,
    secrets_of,
)
from tests.fakes.anthropic import error as anthropic
from tests.fakes.gemini import error as gemini
from tests.fakes.openai import error as openai

SECRET = "sk-provider-0123456789abcdef"
TARGET = Target(
    provider=Provider(
        name="prov", kind="openai", lane="native", headers={"x-team": "team-secret-1"}
    ),
    model=Model(name="model-1"),
    credential=Credential("default", SECRET, {"aws_secret_access_key": "aws-secret-1"}),
)


def failure(status: int, body: Any = b"", **headers: str) -> UpstreamFailure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return failure_from_response(status, named, content, TARGET)


def aws(kind: str) -> dict[str, str]:
    return {"x_amzn_errortype": kind}


# status, body, class, our status, our code; grouped as the providers' error pages do.
OPENAI = [
    (
        400,
        openai("m", "invalid_request_error", None, "temperature"),
        InvalidPrompt,
        "invalid_prompt",
    ),
    (400, openai("m", "x", "unsupported_value", "n"), InvalidPrompt, "unsupported_value"),
    (400, openai("m", "x", "string_above_max_length"), InvalidPrompt, "string_above_max_length"),
    (
        400,
        openai("m", "x", "context_length_exceeded"),
        ContextWindowExceeded,
        "context_length_exceeded",
    ),
    (
        400,
        openai("This model's maximum context length is 8192 tokens.", "x"),
        ContextWindowExceeded,
        "context_length_exceeded",
    ),
    (400, openai("m", "x", "content_filter"), ContentFiltered, "content_filter"),
    (
        400,
        openai("m", "x", "content_policy_violation"),
        ContentFiltered,
        "content_policy_violation",
    ),
    (
        400,
        openai(
            "Your prompt was flagged as potentially violating our usage policy.",
            "x",
            "invalid_prompt",
        ),
        ContentFiltered,
        "invalid_prompt",
    ),
    (
        400,
        openai("m", "x", "billing_hard_limit_reached"),
        QuotaExceeded,
        "billing_hard_limit_reached",
    ),
    (401, openai("Incorrect API key", "x", "invalid_api_key"), ProviderAuthentication, None),
    (403, openai("m", "x"), ProviderPermission, None),
    (403, openai("m", "x", "model_not_found"), UpstreamModelNotFound, "model_not_found"),
    (404, openai("m", "x", "model_not_found"), UpstreamModelNotFound, "model_not_found"),
    (404, b"<html>", UpstreamModelNotFound, "model_not_found"),
    (409, openai("m", "conflict"), ServerError, None),
    (429, openai("m", "tokens", "rate_limit_exceeded"), RateLimited, "rate_limit_exceeded"),
    (429, openai("m", "requests"), RateLimited, "rate_limit_exceeded"),
    (
        429,
        openai("m", "insufficient_quota", "insufficient_quota"),
        QuotaExceeded,
        "insufficient_quota",
    ),
    (429, openai("m", "x", "billing_not_active"), QuotaExceeded, "billing_not_active"),
    (500, openai("m", "server_error"), ServerError, None),
    (503, openai("m", "server_error"), Overloaded, None),
]
OTHERS = [
    # Anthropic
    (
        400,
        anthropic("invalid_request_error", "prompt is too long: 2 > 1"),
        ContextWindowExceeded,
        None,
    ),
    (
        400,
        anthropic(
            "invalid_request_error", "input length and `max_tokens` exceed context limit: 2 > 1"
        ),
        ContextWindowExceeded,
        None,
    ),
    (
        400,
        anthropic("invalid_request_error", "messages: roles must alternate"),
        InvalidPrompt,
        None,
    ),
    (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low"),
        QuotaExceeded,
        None,
    ),
    (
        400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits."),
        QuotaExceeded,
        None,
    ),
    (
        400,
        anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        ContentFiltered,
        None,
    ),
    (401, anthropic("authentication_error", "invalid x-api-key"), ProviderAuthentication, None),
    (403, anthropic("permission_error", "m"), ProviderPermission, None),
    (404, anthropic("not_found_error", "model: x"), UpstreamModelNotFound, None),
    (413, anthropic("request_too_large", "m"), InvalidPrompt, None),
    (429, anthropic("rate_limit_error", "m"), RateLimited, None),
    (500, anthropic("api_error", "m"), ServerError, None),
    (529, anthropic("overloaded_error", "m"), Overloaded, None),
    # Gemini
    (
        400,
        gemini(400, "INVALID_ARGUMENT", "The input token count (2) exceeds the maximum (1)."),
        ContextWindowExceeded,
        None,
    ),
    (400, gemini(400, "INVALID_ARGUMENT", "Invalid JSON payload"), InvalidPrompt, None),
    (400, gemini(400, "INVALID_ARGUMENT", "API key not valid."), ProviderAuthentication, None),
    (
        400,
        gemini(400, "INVALID_ARGUMENT", "m", {"reason": "API_KEY_INVALID"}),
        ProviderAuthentication,
        None,
    ),
    (403, gemini(403, "PERMISSION_DENIED", "m"), ProviderPermission, None),
    (
        403,
        gemini(403, "PERMISSION_DENIED", "m", {"reason": "BILLING_DISABLED"}),
        QuotaExceeded,
        None,
    ),
    (404, gemini(404, "NOT_FOUND", "models/x is not found"), UpstreamModelNotFound, None),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "m"), RateLimited, None),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"),
        QuotaExceeded,
        None,
    ),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", {"retryDelay": "34s"}),
        RateLimited,
        None,
    ),
    (
        429,
        gemini(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota",
            {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]},
            {"retryDelay": "34s"},
        ),
        QuotaExceeded,
        None,
    ),
    (500, gemini(500, "INTERNAL", "m"), ServerError, None),
    (503, gemini(503, "UNAVAILABLE", "The model is overloaded"), Overloaded, None),
    (504, gemini(504, "DEADLINE_EXCEEDED", "m"), UpstreamTimeout, None),
    # Azure
    (404, openai("m", None, "DeploymentNotFound"), UpstreamModelNotFound, None),
    (401, {"statusCode": 401, "message": "Access denied"}, ProviderAuthentication, None),
    (
        400,
        {"error": {"message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        ContentFiltered,
        None,
    ),
    # Cohere, Mistral, Groq, xAI, DeepSeek, OpenRouter, llama.cpp, vLLM, TGI
    (400, {"message": "too many tokens: total cannot exceed 4081"}, ContextWindowExceeded, None),
    (498, {"message": "invalid token"}, ProviderAuthentication, None),
    (
        400,
        {"message": "Prompt contains 4 tokens, too large for model with 3 maximum context length"},
        ContextWindowExceeded,
        None,
    ),
    (400, {"message": "Invalid model: foo", "type": "invalid_model"}, UpstreamModelNotFound, None),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, InvalidPrompt, None),
    (400, openai("Failed to call a function", "x", "tool_use_failed"), ToolCallInvalid, None),
    (
        413,
        openai("Request too large: tokens per minute", "tokens", "rate_limit_exceeded"),
        RateLimited,
        None,
    ),
    (403, {"code": "x", "error": "Content violates usage guidelines."}, ContentFiltered, None),
    (
        403,
        {"code": "x", "error": "Your team has used all available credits"},
        QuotaExceeded,
        None,
    ),
    (400, openai("Content Exists Risk", "invalid_request_error"), ContentFiltered, None),
    (402, openai("Insufficient Balance", "unknown_error"), QuotaExceeded, None),
    (
        400,
        {"error": {"message": "x is not a valid model ID", "code": 400}},
        UpstreamModelNotFound,
        None,
    ),
    (
        400,
        {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error"}},
        ContextWindowExceeded,
        None,
    ),
    (404, {"detail": "Not Found"}, UpstreamModelNotFound, None),
    (
        422,
        {"error": "`inputs` tokens + `max_new_tokens` must be <= 4097", "error_type": "validation"},
        ContextWindowExceeded,
        None,
    ),
]
BEDROCK = [
    (400, "ValidationException", "Malformed input request", InvalidPrompt),
    (400, "ValidationException", "Input is too long for requested model.", ContextWindowExceeded),
    (
        400,
        "ValidationException",
        "The provided model identifier is invalid.",
        UpstreamModelNotFound,
    ),
    (400, "ThrottlingException", "Too many tokens, please wait", RateLimited),
    (400, "ServiceQuotaExceededException", "m", QuotaExceeded),
    (403, "AccessDeniedException", "m", ProviderPermission),
    (403, "UnrecognizedClientException", "m", ProviderAuthentication),
    (403, "", "The security token included in the request is invalid.", ProviderAuthentication),
    (403, "ExpiredTokenException", "m", ProviderAuthentication),
    (404, "ResourceNotFoundException", "m", UpstreamModelNotFound),
    (408, "ModelTimeoutException", "m", UpstreamTimeout),
    (424, "ModelErrorException", "m", ServerError),
    (429, "ThrottlingException", "Too many tokens, please wait", RateLimited),
    (500, "InternalServerException", "m", ServerError),
    (503, "ServiceUnavailableException", "m", Overloaded),
]


@pytest.mark.parametrize(("status", "body", "cls", "code"), OPENAI + OTHERS)
def test_status_then_body_decide_the_class(status: int, body: Any, cls: type, code: str | None):
    error = failure(status, body)
    assert type(error) is cls
    assert error.code == (code or cls.code)


@pytest.mark.parametrize(("status", "kind", "message", "cls"), BEDROCK)
def test_awss_class_stands_in_a_header(status: int, kind: str, message: str, cls: type):
    assert type(failure(status, {"message": message}, **aws(f"{kind}:http://x/"))) is cls


@pytest.mark.parametrize(
    ("status", "cls", "ours"),
    [
        (100, InvalidConfiguration, 502),
        (204, InvalidConfiguration, 502),
        (301, InvalidConfiguration, 502),
        (307, InvalidConfiguration, 502),
        (400, InvalidPrompt, 400),
        (405, InvalidConfiguration, 502),
        (407, InvalidConfiguration, 502),
        (408, UpstreamTimeout, 504),
        (410, UpstreamModelNotFound, 404),
        (418, InvalidPrompt, 400),
        (499, ServerError, 500),
        (500, ServerError, 500),
        (501, ServerError, 501),
        (502, ServerError, 502),
        (504, UpstreamTimeout, 504),
        (520, ServerError, 500),
        (524, UpstreamTimeout, 504),
        (529, Overloaded, 503),
        (599, ServerError, 500),
    ],
)
def test_a_bare_status_has_a_class(status: int, cls: type, ours: int):
    error = failure(status)
    assert (type(error), error.status) == (cls, ours)


def test_no_client_ever_sees_408_or_a_status_that_is_none():
    for status in range(100, 600):
        assert failure(status).status in {400, 404, 429, *range(500, 512)} - {408}


@pytest.mark.parametrize("status", [401, 403, 404, 405, 429, 500, 503, 504])
def test_the_providers_words_stay_out_where_they_are_not_the_callers_business(status: int):
    error = failure(status, openai("inner workings", "x"))
    assert "inner workings" not in error.message
    assert "model-1" in error.message or "prov" in error.message


@pytest.mark.parametrize("code", [None, "context_length_exceeded", "content_filter"])
def test_the_providers_words_and_param_are_passed_on_where_they_are(code: str | None):
    said = openai("messages[3] is odd", "x", code, "messages[3].content")
    error = failure(400, said)
    assert (error.message, str(error)) == ("messages[3] is odd", "messages[3] is odd")
    assert error.param == "messages[3].content"


def test_secrets_and_addresses_of_the_target_are_removed():
    said = f"key {SECRET}, aws-secret-1, team-secret-1 at https://host.internal/v1"
    message = failure(400, openai(said, "x")).message
    for secret in secrets_of(TARGET):
        assert secret not in message
    assert "host.internal" not in message


def test_the_path_of_the_providers_address_is_removed():
    at = replace(TARGET, provider=replace(TARGET.provider, base_url="https://h/account-17/v1"))
    error = failure_from_response(400, {}, openai("no /account-17/v1/chat here", "x"), at)
    assert "account-17" not in error.message


def test_an_empty_complaint_gets_words_of_ours():
    assert failure(400).message == "Provider 'prov' refused the request for 'model-1' as malformed."


def test_a_param_that_is_no_text_is_left_out():
    assert failure(400, {"error": {"message": "m", "param": 3}}).param is None


@pytest.mark.parametrize(("status", "waits"), [(429, True), (503, True), (500, True), (400, False)])
def test_the_providers_wish_to_wait_is_kept_where_it_means_something(status: int, waits: bool):
    assert failure(status, b"", retry_after="7").retry_after_s == (7 if waits else None)


def test_an_answer_with_an_error_status_was_refused_before_any_work():
    billable = [status for status in range(400, 600) if failure(status).billable]
    assert billable == [408, 504, 522, 524]


@pytest.mark.parametrize(
    ("data", "cls"),
    [
        (openai("m", "server_error"), ServerError),
        (openai("m", "x", "rate_limit_exceeded"), RateLimited),
        ({"error": {"message": "m", "code": 503}}, Overloaded),
        (anthropic("overloaded_error", "m"), Overloaded),
        (anthropic("rate_limit_error", "m"), RateLimited),
        (anthropic("api_error", "m"), ServerError),
        (anthropic("invalid_request_error", "prompt is too long"), ContextWindowExceeded),
        (gemini(503, "UNAVAILABLE", "m"), Overloaded),
        ({"__type": "throttlingException", "message": "m"}, RateLimited),
        ({"__type": "modelStreamErrorException", "message": "m"}, ServerError),
        ({"__type": "validationException", "message": "m"}, InvalidPrompt),
        ({"error": "boom"}, ServerError),
        ({"error": {}}, ServerError),
    ],
)
def test_an_error_inside_a_stream_is_classified_by_its_names(data: Any, cls: type):
    assert type(failure_from_event(data, TARGET)) is cls


@pytest.mark.parametrize("started", [True, False])
def test_an_error_inside_a_stream_is_billable_once_it_has_started(started: bool):
    assert failure_from_event({"error": {}}, TARGET, started=started).billable is started


def test_every_failure_has_words_of_ours():
    for cls in error_classes(UpstreamFailure):
        if cls is not UpstreamFailure:
            assert failure_of(cls, TARGET).message
