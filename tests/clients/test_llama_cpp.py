"""A real inference server behind the native lane: llama.cpp's, as examples/llama_cpp starts it.

Its model is random, so the texts mean nothing; the tokens, counts and errors are a real server's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.clients.environments import python_environment
from tests.conftest import StartGateway
from tests.gateway_process import ROOT, GatewayProcess

EXAMPLE = ROOT / "examples" / "llama_cpp"
LOCK = EXAMPLE / "requirements.lock"
_TOLD: Any = [{"role": "user", "content": "Sag etwas: 世界!"}]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of llama.cpp's server with the random model."""
    python = python_environment("llama-cpp", LOCK)
    model = tmp_path_factory.mktemp("llama") / "random.gguf"
    subprocess.run([sys.executable, EXAMPLE / "random_model.py", model], check=True)
    assert model.stat().st_size < 600_000
    with subprocess.Popen(
        [python, EXAMPLE / "server.py", model],
        stdin=subprocess.PIPE,  # its end is the server's end
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
async def gateway(llama_server: str, start_gateway: StartGateway) -> GatewayProcess:
    """The gateway as it comes: the repository's config.toml and one variable."""
    config = (ROOT / "config.toml").read_text()
    return await start_gateway(config, env={"LLAMACPP_BASE_URL": llama_server})


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client:
        yield client


def test_its_model_answers_to_its_bare_name(client: OpenAI, gateway: GatewayProcess) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="random", messages=_TOLD, max_tokens=8
    )
    answer = raw.parse()
    assert answer.choices[0].finish_reason == "length"
    assert len(answer.choices[0].message.content or "") >= 8
    assert raw.headers["x-sluice-provider"] == "llamacpp"
    assert answer.usage
    _, (charge,) = gateway.ledger.wait_for(raw.headers["x-sluice-call-id"])
    assert (charge["provider"], charge["model"]) == ("llamacpp", "random")
    assert (charge["source"], charge["unpriced"]) == ("provider", 1)
    assert charge["prompt_tokens"] == answer.usage.prompt_tokens
    assert charge["completion_tokens"] == answer.usage.completion_tokens == 8


def test_its_models_are_listed_when_somebody_asks(client: OpenAI) -> None:
    assert "llamacpp/random" in [model.id for model in client.models.list()]
    assert client.models.retrieve("random").id


def test_its_tokens_are_streamed_one_by_one(client: OpenAI, gateway: GatewayProcess) -> None:
    asked: Any = {"model": "llamacpp/random", "messages": _TOLD, "max_tokens": 24}
    asked |= {"temperature": 0, "seed": 1}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    raw = client.chat.completions.with_raw_response.create(**asked, stream=True)
    with raw.parse() as stream:
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(pieces) == 24
    assert "".join(pieces) == whole
    assert chunks[-1].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in chunks)
    call, (charge,) = gateway.ledger.wait_for(raw.headers["x-sluice-call-id"])
    assert (call["status"], call["stream"]) == (200, 1)
    assert (charge["source"], charge["completion_tokens"]) == ("provider", 24)
    assert charge["cached_tokens"] > 0  # the second call found the first one's prompt


class Verdict(BaseModel):
    verdict: Literal["guilty"]


def test_its_grammar_holds_a_json_schema(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="random", messages=_TOLD, response_format=Verdict, max_tokens=200
    )
    assert answer.choices[0].message.parsed == Verdict(verdict="guilty")


def test_its_token_probabilities_arrive(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="random", messages=_TOLD, max_tokens=3, logprobs=True, top_logprobs=2
    )
    assert answer.choices[0].logprobs
    tokens = answer.choices[0].logprobs.content or []
    assert [len(token.top_logprobs) for token in tokens] == [2, 2, 2]


@pytest.mark.parametrize("stream", [False, True])
def test_its_complaint_about_a_long_prompt_keeps_its_class(client: OpenAI, stream: bool) -> None:
    long: Any = [{"role": "user", "content": "word " * 4000}]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="random", messages=long, stream=stream)
    assert raised.value.code == "context_length_exceeded"


def test_the_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE / "demo.py", python_environment("llama-cpp", LOCK)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "llamacpp/random" in done.stdout
    assert "tokens: 48 of a real server" in done.stdout
