"""Errors as the official Python SDK raises them: the class, and what a program branches on.

One gateway with one fake provider serves the whole file; `fake` gets another script in each test.
The provider's error bodies are OpenAI's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.fakes.openai import chunks, completion, error
from tests.fakes.upstream import Answer, Step, Upstream, json_answer, sse, sse_answer
from tests.gateway_process import ECHO, FAKE_KEY, GatewayProcess, fake_provider, table

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RULES = {"server_error": 1, "connection": 1, "timeout": 0, "rate_limit": 0, "overloaded": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[GatewayProcess, Upstream]]:
    config = table("retry", base_s=0.001)
    for kind, same_target in _RULES.items():
        config += table(f"retry.rules.{kind}", same_target=same_target)
    async with Upstream(Answer(status=500)) as upstream:
        config += ECHO + fake_provider(upstream)
        config += table("providers.fake.limits", first_event_s=0.3)
        home = tmp_path_factory.mktemp("gateway")
        async with GatewayProcess(home, config, env={"FAKE_API_KEY": FAKE_KEY}) as gateway:
            yield gateway, upstream


@pytest.fixture
def gateway(served: tuple[GatewayProcess, Upstream]) -> GatewayProcess:
    return served[0]


@pytest.fixture
def fake(served: tuple[GatewayProcess, Upstream]) -> Upstream:
    served[1].requests.clear()
    return served[1]


@pytest_asyncio.fixture(loop_scope="module")
async def client(gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=2) as client:
        yield client


async def ask(client: AsyncOpenAI, model: str = "fake/fake-model", **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": "hello"}]
    return await client.chat.completions.create(**{"model": model, "messages": messages, **more})


def always(fake: Upstream, answer: Answer) -> None:
    fake.script = lambda _: answer


async def test_a_wrong_key_is_an_authentication_error(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        await ask(client.with_options(api_key="sk-sluice-wrong"), "echo")
    assert raised.value.code == "invalid_api_key"
    assert raised.value.type == "invalid_request_error"
    assert "sk-sluice-wrong" not in str(raised.value)


async def test_a_model_the_key_may_not_use_is_a_permission_error(
    client: AsyncOpenAI, gateway: GatewayProcess
) -> None:
    key = gateway.command("keys", "create", "narrow", "--model", "fake/*").strip()
    narrow = client.with_options(api_key=key)
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await ask(narrow, "echo")
    assert (raised.value.code, raised.value.param) == ("model_not_allowed", "model")
    listed = [model.id for model in (await narrow.models.list()).data]
    assert listed
    assert all(name.startswith("fake/") for name in listed)


@pytest.mark.parametrize("model", ["no-such-model", "nowhere/model"])
async def test_an_unknown_model_is_not_found(client: AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await ask(client, model)
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as raised:
        await client.models.retrieve(model)
    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"n": 0}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ],
)
async def test_a_malformed_request_is_a_bad_request(
    client: AsyncOpenAI, fake: Upstream, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await ask(client, **wrong)
    assert raised.value.type == "invalid_request_error"
    assert raised.value.param == param
    assert fake.requests == []


_LONG = error("This model's maximum context …", "invalid_request_error", "context_length_exceeded")
_SLOW = error("Rate limit reached", "tokens", "rate_limit_exceeded")
_POOR = error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")
_FILTERED = error("… content management policy.", None, "content_filter", "prompt")
_BROKEN = error("The server had an error", "server_error")
_DENIED = error("Incorrect API key provided", "invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "requests"),
    [
        (400, _LONG, openai.BadRequestError, "context_length_exceeded", 1),
        (400, _FILTERED, openai.BadRequestError, "content_filter", 1),
        (404, {}, openai.NotFoundError, "model_not_found", 1),
        (429, _POOR, openai.RateLimitError, "insufficient_quota", 1),
        (500, _BROKEN, openai.InternalServerError, "upstream_server_error", 2),
        (503, {}, openai.InternalServerError, "upstream_overloaded", 2),
        (401, _DENIED, openai.InternalServerError, "provider_authentication_failed", 1),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_providers_failure_is_the_class_that_its_sdk_would_raise(
    client: AsyncOpenAI,
    fake: Upstream,
    status: int,
    body: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    requests: int,
    stream: bool,
) -> None:
    """And the SDK, which would repeat most of them, does not: the gateway has done what helps."""
    always(fake, json_answer(body, status))
    with pytest.raises(kind) as raised:
        await ask(client, stream=stream)
    assert raised.value.code == code
    assert raised.value.request_id
    assert FAKE_KEY not in str(raised.value)
    assert len(fake.requests) == requests


async def test_a_rate_limit_tells_the_sdk_how_long_to_wait(
    client: AsyncOpenAI, fake: Upstream
) -> None:
    always(fake, json_answer(_SLOW, 429, retry_after="7"))
    with pytest.raises(openai.RateLimitError) as raised:
        await ask(client.with_options(max_retries=0))
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.response.headers["retry-after-ms"] == "7000"


async def test_the_sdk_repeats_what_the_gateway_has_not(
    client: AsyncOpenAI, fake: Upstream
) -> None:
    answers = [json_answer(_SLOW, 429, retry_after="0"), json_answer(completion("at last"))]
    fake.script = lambda _: answers[min(len(fake.requests), 2) - 1]
    answer = await ask(client)
    assert answer.choices[0].message.content == "at last"
    assert len(fake.requests) == 2


async def test_the_sdk_does_not_repeat_what_the_gateway_repeated_in_vain(
    client: AsyncOpenAI, fake: Upstream
) -> None:
    always(fake, json_answer(_BROKEN, 500))
    with pytest.raises(openai.InternalServerError) as raised:
        await ask(client.with_options(max_retries=5))
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert raised.value.response.headers["x-sluice-attempts"] == "2"
    assert len(fake.requests) == 2


async def test_a_failure_that_passes_is_never_seen(client: AsyncOpenAI, fake: Upstream) -> None:
    answers = [Answer(status=500), json_answer(completion("at last"))]
    fake.script = lambda _: answers[len(fake.requests) - 1]
    raw = await client.with_options(max_retries=0).chat.completions.with_raw_response.create(
        model="fake/fake-model", messages=[{"role": "user", "content": "hello"}]
    )
    assert raw.headers["x-sluice-attempts"] == "2"
    assert raw.retries_taken == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_silent_provider_is_a_server_error(
    client: AsyncOpenAI, fake: Upstream, stream: bool
) -> None:
    always(fake, Answer((Step.HANG,)))
    limited = client.with_options(max_retries=0)
    with pytest.raises(openai.InternalServerError) as raised:
        await ask(limited, stream=stream, extra_headers={"x-sluice-deadline-s": "0.5"})
    assert raised.value.status_code == 504
    assert raised.value.code in ("upstream_timeout", "deadline_exceeded")


async def test_an_impatient_client_times_out_and_frees_the_provider(
    client: AsyncOpenAI, gateway: GatewayProcess, fake: Upstream
) -> None:
    fake.left.clear()
    always(fake, Answer((Step.HANG,)))
    with pytest.raises(openai.APITimeoutError):
        await ask(client.with_options(max_retries=0, timeout=0.2))
    await fake.left.wait()
    await gateway.ledger.until(lambda ledger: ledger.calls()[-1]["error"] == "client_gone")


async def test_a_stream_that_is_closed_early_frees_the_provider(
    client: AsyncOpenAI, gateway: GatewayProcess, fake: Upstream
) -> None:
    fake.left.clear()
    always(fake, sse_answer([*chunks("Once", " upon"), Step.HANG]))
    async with await ask(client, stream=True) as stream:
        texts = [(await anext(stream)).choices[0].delta.content for _ in range(3)]
        call_id = stream.response.headers["x-sluice-call-id"]
    assert texts == ["", "Once", " upon"]
    await fake.left.wait()
    call, (charge,) = await gateway.ledger.ended(call_id)
    assert call["error"] == "client_gone"
    assert charge["source"] in ("estimated", "partial")
    assert charge["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ([sse(_BROKEN)], "upstream_server_error"),
        ([Step.CUT], "upstream_response_invalid"),
        ([], "upstream_response_invalid"),
        ([b"data: {broken\n\n"], "upstream_response_invalid"),
    ],
    ids=["in-band error", "cut connection", "no finish reason", "broken line"],
)
async def test_an_error_within_a_stream_is_an_api_error(
    client: AsyncOpenAI, fake: Upstream, ending: list[Any], code: str
) -> None:
    always(fake, sse_answer([*chunks("Once", " upon"), *ending]))
    stream = await ask(client, stream=True)
    texts: list[str] = []
    with pytest.raises(openai.APIError) as raised:
        await _read(stream, texts)
    assert raised.value.code == code
    assert "".join(texts) == "Once upon"
    assert len(fake.requests) == 1


async def _read(stream: Any, texts: list[str]) -> None:
    async for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")


async def test_an_unreachable_provider_is_a_server_error(
    client: AsyncOpenAI, fake: Upstream
) -> None:
    always(fake, Answer((Step.CUT,)))
    with pytest.raises(openai.InternalServerError) as raised:
        await ask(client)
    assert raised.value.code == "upstream_connection_failed"
    assert fake.url not in str(raised.value)


async def test_a_wrong_path_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await client.embeddings.create(model="echo", input="hello")
    assert raised.value.code == "path_not_found"
