"""Does `sluice explain` ask a gateway, and show what it says?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.fakes.upstream import Answer, Upstream, json_answer
from tests.gateway.cli.conftest import Shell
from tests.gateway_process import GatewayProcess

CALL = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
HELLO = ("--model", "echo", "--message", "hi")


@pytest.fixture
def asking(shell: Shell, echo_gateway: GatewayProcess) -> Shell:
    """`sluice explain` with the key of a running gateway in the environment."""
    shell.environ = {"SLUICE_API_KEY": echo_gateway.key}
    return shell


def test_an_explanation_for_people(asking: Shell, echo_gateway: GatewayProcess) -> None:
    shown = asking.run("explain", *HELLO, "--url", echo_gateway.url).stdout
    assert "sent to echo/echo with its credential default" in shown
    assert "no alias, order" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["1", "echo/echo", "default"] in [line[:3] for line in lines]


def test_an_explanation_for_programs(asking: Shell, echo_gateway: GatewayProcess) -> None:
    url = ("--url", f"{echo_gateway.base_url}/")
    found = asking.json("explain", *HELLO, *url, "--header", "x-sluice-cache: on")
    assert (found["object"], found["outcome"]["kind"]) == ("explanation", "provider")
    assert found["cache"]["status"] == "miss"


def test_a_request_from_a_file_with_another_model(
    asking: Shell, echo_gateway: GatewayProcess, tmp_path: Path
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(CALL | {"stream": True}))
    given = ("explain", str(file), "--url", echo_gateway.url)
    found = asking.json(*given)
    assert (found["model"], found["stream"]) == ("echo", True)
    assert asking.json(*given, "--model", "echo-slow")["model"] == "echo-slow"


def test_a_refusal_has_a_status_of_its_own(asking: Shell, echo_gateway: GatewayProcess) -> None:
    given = ("explain", "--model", "nope", "--message", "hi", "--url", echo_gateway.url)
    shown = asking.run(*given, code=3).stdout
    assert "refused with 404 model_not_found: No provider knows the model 'nope'." in shown
    found = json.loads(asking.run(*given, "--json", code=3).stdout)
    assert found["outcome"]["status"] == 404


def test_errors_are_one_line(asking: Shell, echo_gateway: GatewayProcess, tmp_path: Path) -> None:
    url = ("--url", echo_gateway.url)
    said = asking.failure("explain", *HELLO, *url, "--key", "sk-wrong")
    assert said.startswith("401: This API key is not known here.")
    assert "sk-wrong" not in said
    file = tmp_path / "request.json"
    file.write_text('{"model": 1}')
    assert asking.failure("explain", str(file), *url).startswith("400: ")
    file.write_text("{")
    assert "is not JSON" in asking.failure("explain", str(file), *url, "--model", "echo")
    file.write_text("[]")
    assert "not a JSON object" in asking.failure("explain", str(file), *url, "--model", "echo")
    said = asking.failure("explain", *HELLO, "--url", "http://127.0.0.1:1")
    assert said.startswith("no gateway answers at http://127.0.0.1:1: ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--model", "echo"),
        ("--message", "hi"),
        ("/no/such/file",),
        (*HELLO, "--header", "x-sluice-cache"),
        (*HELLO, "--header", "a: b\r\nc: d"),
        (*HELLO, "--url", "file:///etc/passwd"),
    ],
)
def test_a_wrong_command_line(asking: Shell, arguments: tuple[str, ...]) -> None:
    asking.failure("explain", *arguments, code=2)


def test_a_key_is_needed(shell: Shell) -> None:
    shell.environ = {"SLUICE_API_KEY": ""}
    assert "SLUICE_API_KEY" in shell.failure("explain", *HELLO, code=2)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=307, headers={"location": "/elsewhere"}), "explains calls: 307"),
        (Answer((b"hello",)), "explains calls: 200"),
        (json_answer({"object": "list"}), "explains calls: 200"),
        (json_answer({"error": {"message": "a\nb"}}, 418), "418: a\N{REPLACEMENT CHARACTER}b"),
    ],
)
async def test_what_is_no_gateway_is_not_believed(shell: Shell, answer: Answer, said: str) -> None:
    shell.environ = {"SLUICE_API_KEY": "sk-1", "http_proxy": "http://127.0.0.1:1"}
    async with Upstream(answer) as upstream:
        given = ("explain", *HELLO, "--url", upstream.url)
        failure = await asyncio.to_thread(shell.failure, *given)
    assert said in failure
    assert upstream.request.path == "/v1/explain"
    assert upstream.request.headers["authorization"] == "Bearer sk-1"
