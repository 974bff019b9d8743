"""Does a command do the same to a remote gateway as to the database of this machine?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.upstream import Answer, Upstream, json_answer
from tests.gateway.cli.conftest import CONFIG, Shell
from tests.gateway_process import GatewayProcess


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = CONFIG.replace('"sqlite:state/sluice.db"', '"sqlite:data/sluice.db"')
    with GatewayProcess(tmp_path_factory.mktemp("remote"), "[server]\nlog = 'off'\n" + config) as g:
        yield g


@pytest.fixture
def remote(shell: Shell, gateway: GatewayProcess) -> Shell:
    """A machine with no configuration and no database of its own."""
    shell.path.unlink()
    shell.environ = {"SLUICE_URL": gateway.url, "SLUICE_ADMIN_KEY": gateway.admin_key}
    return shell


def test_a_key_is_made_and_ended_far_away(remote: Shell) -> None:
    made = remote.json("keys", "create", "far", "--team", "red", "--bind", "openai=lab")
    assert made["key"].startswith("sk-sluice-")
    assert remote.json("keys", "show", "far")["credentials"] == {"openai": "lab"}
    assert remote.json("keys", "set", "far", "rpm=5")["settings"] == {"rpm": 5}
    new = remote.json("keys", "rotate", "far")
    assert new["rotated_from"] == made["id"]
    assert "is revoked" in remote.run("keys", "revoke", "far").stdout
    assert "far" not in remote.run("keys", "list").stdout
    assert {key["id"] for key in remote.json("keys", "list", "--all")} >= {made["id"], new["id"]}
    assert not (remote.path.parent / "state").exists()


def test_teams_and_budgets_are_kept_far_away(remote: Shell) -> None:
    remote.run("teams", "create", "a/b", "--set", "rpm=7")
    assert remote.json("teams", "bind", "a/b", "openai=lab")["credentials"] == {"openai": "lab"}
    budget = remote.json("budgets", "set", "team:a/b", "--limit", "2.50")
    assert budget in remote.json("budgets", "list")
    assert remote.json("budgets", "remove", "team:a/b") == {"removed": 1}
    assert remote.json("teams", "delete", "a/b") == {"name": "a/b", "revoked": []}


def test_what_happened_is_seen_from_afar(remote: Shell, gateway: GatewayProcess) -> None:
    body = {"model": "echo/echo", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {gateway.key}"}
    assert httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers).is_success
    found: list[dict[str, Any]] = []
    while not found:  # it is written soon after its answer; the test's own time limit ends this
        found = remote.json("calls", "--limit", "1")["calls"]
    (call,) = found
    assert remote.json("calls", "show", call["call_id"])["call"]["status"] == 200
    assert remote.json("usage", "--by", "key", "--since", "1h")["total"]["calls"] >= 1
    assert remote.json("cache", "stats")[0]["hits"] == 0
    assert remote.json("cache", "clear")["scope"]["team"] is None
    told = remote.json("status")
    assert [one["id"] for one in told["processes"]] == [told["process"]]
    assert "answered by" in remote.run("status").stdout
    assert any(row["via"] == "api" for row in remote.json("audit", "--limit", "5"))


def test_targets_are_seen_and_reset(remote: Shell) -> None:
    names = {target["name"]: target for target in remote.json("targets")["data"]}
    assert names["echo/echo"]["state"] == "closed"
    assert "openai/gpt-4o-mini" in remote.run("targets").stdout
    assert "echo/echo is closed" in remote.run("targets", "reset", "echo/echo").stdout
    assert "no target 'echo/nope'" in remote.failure("targets", "reset", "echo/nope")


def test_the_configuration_is_read_anew(remote: Shell, gateway: GatewayProcess) -> None:
    assert remote.json("reload") == {"changed": [], "needs_restart": []}
    file = gateway.home / "config.toml"
    sound = file.read_text()
    file.write_text(sound + "[models.more]\ntargets = ['echo/echo']\n")
    assert remote.run("reload").stdout == "Changed: models.\n"
    file.write_text("[models]\nmore = 1\n")
    said = remote.run("reload", code=2).stderr
    assert "nothing has changed" in said
    assert "models.more" in said
    file.write_text(sound)
    remote.run("reload")


def test_a_gateway_of_this_machine_is_told_by_a_signal(
    shell: Shell, gateway: GatewayProcess
) -> None:
    shell.path = gateway.home / "config.toml"
    shell.environ = {}
    assert shell.json("reload") == {"signalled": [gateway.pid]}
    assert shell.json("status")["process"] is None
    shell.path.write_text((sound := shell.path.read_text()) + "[nonsense]\n")
    assert "nonsense" in shell.failure("reload")
    shell.path.write_text(sound)


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [
        ("sk-sluice-admin-wrong", 3, "This is not the admin key"),
        ("", 2, "SLUICE_ADMIN_KEY is not set"),
        ("schlüssel", 2, "no HTTP header can carry"),
    ],
)
def test_without_the_admin_key_nothing_is_told(
    remote: Shell, key: str, code: int, said: str
) -> None:
    remote.environ = {**remote.environ, "SLUICE_ADMIN_KEY": key}
    failure = remote.failure("keys", "list", code=code)
    assert said in failure
    assert not key or key not in failure


def test_a_virtual_key_is_refused(remote: Shell, gateway: GatewayProcess) -> None:
    remote.environ = {**remote.environ, "SLUICE_ADMIN_KEY": gateway.key}
    remote.failure("usage", code=3)


def test_the_key_may_stand_in_a_file(
    remote: Shell, gateway: GatewayProcess, tmp_path: Path
) -> None:
    file = tmp_path / "admin-key"
    file.write_text(f"{gateway.admin_key}\n")
    remote.environ = {"SLUICE_ADMIN_KEY": "wrong"}
    url = ("--url", f"{gateway.url}/admin/v1/", "--admin-key-file", str(file))
    remote.run("teams", "list", *url)
    file.write_text("\n")
    assert "is empty" in remote.failure("teams", "list", *url, code=2)
    assert "goes with --url" in remote.failure("teams", "list", *url[2:], code=2)


def test_a_refused_change_has_a_status_of_its_own(remote: Shell) -> None:
    remote.run("keys", "create", "kept", "--team", "held")
    assert "--revoke-keys" in remote.failure("teams", "delete", "held", code=3)
    remote.run("teams", "delete", "held", "--revoke-keys")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=307, headers={"location": "/elsewhere"}), "no gateway's admin API: 307"),
        (Answer((b"hello",)), "no gateway's admin API: 200"),
        (json_answer({"error": {"message": "a\x1bb"}}, 500), "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
async def test_what_is_no_gateway_is_not_believed(shell: Shell, answer: Answer, said: str) -> None:
    shell.environ = {"SLUICE_ADMIN_KEY": "sk-1"}
    async with Upstream(answer) as upstream:
        failure = await asyncio.to_thread(shell.failure, "teams", "list", "--url", upstream.url)
    assert said in failure
    assert upstream.request.headers["authorization"] == "Bearer sk-1"


def test_an_address_is_checked_and_the_clear_is_warned_of(shell: Shell) -> None:
    shell.environ = {"SLUICE_ADMIN_KEY": "sk-1"}
    assert "no address" in shell.failure("usage", "--url", "file:///etc/passwd", code=2)
    said = shell.run("usage", "--url", "http://gateway.invalid", code=1).stderr
    assert said.startswith("sluice: the admin key goes to http://gateway.invalid unencrypted.\n")
    assert "no gateway answers at http://127.0.0.1:1" in shell.failure(
        "usage", "--url", "http://127.0.0.1:1"
    )
