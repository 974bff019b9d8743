"""Failures of requests that litellm did not send, or sent where nobody could watch."""

from __future__ import annotations

import httpx
import pytest

from gateway.errors import (
    ConnectionFailed,
    InvalidConfiguration,
    InvalidPrompt,
    ProviderAuthentication,
    ResponseParsing,
    ServerError,
    UpstreamFailure,
    UpstreamTimeout,
)
from gateway.upstream.library.attempt import Attempt
from gateway.upstream.library.verdict import of_library, of_wire
from tests.fakes.wires import SECRET, WIRES, target

TARGET = target(WIRES["openai"], "http://127.0.0.1:1")


def litellms(name: str, message: str = "", status: int | None = None) -> Exception:
    """An exception as litellm raises them, by name alone."""
    error: Exception = type(name, (Exception,), {})(message)
    error.message = message  # type: ignore[attr-defined]
    if status is not None:
        error.status_code = status  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (litellms("BadRequestError", "litellm.BadRequestError: no role", 400), InvalidPrompt),
        (litellms("AuthenticationError", "no key", 401), ProviderAuthentication),
        (litellms("Timeout", "slow", 408), UpstreamTimeout),
        (TimeoutError(), UpstreamTimeout),
        (litellms("ServiceUnavailableError", "later", 503), ServerError),
        (litellms("APIConnectionError", "KeyError: 'x'", 500), InvalidConfiguration),
        (litellms("InternalServerError", "NameError", 500), InvalidConfiguration),
        (KeyError("x"), InvalidConfiguration),
    ],
)
def test_litellms_own_word_counts_only_where_nothing_was_sent(
    error: Exception, cls: type[UpstreamFailure]
):
    assert type(of_library(error, TARGET)) is cls
    assert type(Attempt(TARGET).failure(error)) is cls


def test_litellms_prefixes_and_our_secrets_are_cut_off():
    text = f"litellm.BadRequestError: OpenAIException - bad role, key {SECRET}"
    message = of_library(litellms("BadRequestError", text, 400), TARGET).message
    assert message.startswith("bad role, key ")
    assert SECRET not in message


@pytest.mark.parametrize(
    ("text", "param", "told"),
    [
        (
            "litellm.UnsupportedParamsError: x does not support parameters: ['seed'], for model=y. "
            "To drop these, set `litellm.drop_params=True`",
            "seed",
            "the parameter 'seed'. Leave it out.",
        ),
        (
            "x does not support parameters: ['seed', 'n'], for model=y.",
            "seed",
            "the parameters 'seed', 'n'. Leave them out.",
        ),
        ("y does not support temperature=0.2. To drop, set drop_params", None, "temperature=0.2"),
    ],
)
def test_a_parameter_that_is_not_supported_is_named(text: str, param: str | None, told: str):
    error = of_library(litellms("UnsupportedParamsError", text, 400), TARGET)
    assert type(error) is InvalidPrompt
    assert (error.param, error.code) == (param, "unsupported_parameter")
    assert told in error.message
    assert "drop" not in error.message


@pytest.mark.parametrize(
    ("error", "answered", "cls", "billable"),
    [
        (httpx.ConnectTimeout("x"), False, UpstreamTimeout, False),
        (httpx.PoolTimeout("x"), False, UpstreamTimeout, False),
        (httpx.ReadTimeout("x"), True, UpstreamTimeout, True),
        (httpx.ConnectError("x"), False, ConnectionFailed, False),
        (httpx.ProtocolError("x"), False, ConnectionFailed, True),
        (httpx.ReadError("x"), False, ConnectionFailed, True),
        (httpx.ReadError("x"), True, ResponseParsing, True),
    ],
)
def test_what_breaks_on_the_wire_has_a_class(
    error: Exception, answered: bool, cls: type[UpstreamFailure], billable: bool
):
    failure = of_wire(error, TARGET, answered=answered)
    assert (type(failure), failure.billable) == (cls, billable)


def test_an_attempt_is_one_request():
    attempt = Attempt(TARGET)
    request = httpx.Request("POST", "http://127.0.0.1:1/v1")
    attempt.admit(request)
    with pytest.raises(httpx.ReadError):
        attempt.admit(request)

    attempt.broken = httpx.ConnectError("the first one")
    with pytest.raises(httpx.ConnectError, match="the first one"):
        attempt.admit(request)
