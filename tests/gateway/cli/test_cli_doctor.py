"""Does the doctor find what is amiss, change nothing, and say what to do?"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import doctor_stores
from gateway.cli.doctor_stores import Clock
from tests.fakes.upstream import Answer, Upstream, json_answer
from tests.gateway.cli.conftest import Shell
from tests.gateway_process import GatewayProcess
from tests.redis_server import redis_server

UNUSED = "http://127.0.0.1:1"


def examined(shell: Shell, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    told = json.loads(shell.run("doctor", "--json", *arguments, code=code).stdout)
    assert told["well"] is (code == 0)
    return {verdict["check"]: verdict for verdict in told["checks"]}


def states(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {check: verdict["state"] for check, verdict in found.items()}


@pytest.fixture
def made(shell: Shell) -> Shell:
    """With a database, a pepper and an encryption key; its gateway does not run."""
    shell.path.write_text(f"[server]\nport = 9\n{shell.path.read_text()}")
    shell.run("keys", "create", "one")
    shell.run("credentials", "add", "openai", given="sk-stored-secret-1234\n")
    return shell


def database(shell: Shell) -> Path:
    return shell.path.parent / "state" / "sluice.db"


def test_a_sound_installation_is_well(made: Shell) -> None:
    found = states(examined(made))
    assert set(found.values()) <= {"ok", "skip", "warn"}
    assert [check for check, state in found.items() if state == "warn"] == ["gateway"]
    assert found["provider openai"] == "ok"  # by the stored credential
    text = made.run("doctor").stdout
    assert "ok    database:" in text
    assert text.splitlines()[-1] == "No faults, 1 warnings."
    assert "sk-stored" not in text


def test_before_the_first_start_nothing_is_made(shell: Shell) -> None:
    found = examined(shell)
    assert found["database"]["state"] == "warn"
    assert found["provider openai"]["found"] == "off: needs OPENAI_API_KEY"
    assert found["model lost"]["state"] == "warn"
    assert not (shell.path.parent / "state").exists()


def test_faults_of_the_configuration_end_it(shell: Shell) -> None:
    shell.path.write_text("[server]\nprot = 1\nport = -1\n")
    assert list(states(examined(shell, code=1)).values()) == ["ok", "fail"]
    assert shell.run("doctor", code=1).stdout.count("FAIL") == 2


def test_policies_of_others_are_loaded(shell: Shell) -> None:
    text = shell.path.read_text()
    shell.path.write_text(text + '[[policies]]\nuse = "nowhere:Policy"\nafter = "Keys"\n')
    assert examined(shell, code=1)["policies"]["state"] == "fail"


def test_without_any_provider_nothing_can_be_served(shell: Shell) -> None:
    shell.path.write_text(
        "[database]\nurl = 'sqlite:s.db'\n[providers.openai]\nkind = 'openai'\n"
        "api_key = 'env:OPENAI_API_KEY'\n"
    )
    assert "credentials add" in examined(shell, code=1)["providers"]["advice"]


def test_a_damaged_database_is_found(made: Shell) -> None:
    with closing(sqlite3.connect(database(made))) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(database(made).read_bytes())
    content[4096:8192] = b"\xff" * 4096
    database(made).write_bytes(content)
    assert examined(made, code=1)["database"]["state"] == "fail"


@pytest.mark.parametrize(("version", "state"), [(1, "warn"), (9999, "fail")])
def test_another_releases_database_is_told(made: Shell, version: int, state: str) -> None:
    with closing(sqlite3.connect(database(made))) as db:
        db.execute("DELETE FROM schema_version")
        db.execute("INSERT INTO schema_version VALUES (?)", (version,))
        db.commit()
    found = examined(made, code=state == "fail")
    assert found["migrations"]["state"] == state
    with closing(sqlite3.connect(database(made))) as db:
        assert db.execute("SELECT version FROM schema_version").fetchall() == [(version,)]


@pytest.mark.parametrize("file", ["pepper", "encryption-key"])
@pytest.mark.parametrize("change", ["other", "gone"])
def test_a_lost_secret_is_told_and_none_is_made(made: Shell, file: str, change: str) -> None:
    place = database(made).with_name(file)
    if change == "other":
        place.write_text("0123456789abcdef" * 4)
    else:
        place.unlink()
    check = file.replace("-", " ")
    assert examined(made, code=1)[check]["state"] == "fail"
    assert place.exists() is (change == "other")


def test_a_database_that_somebody_holds_is_told(
    made: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_stores, "BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(database(made), isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert "locked" in examined(made, code=1)["writing"]["found"]


def test_files_that_others_may_read_are_told(made: Shell) -> None:
    place = database(made).with_name("pepper")
    place.chmod(0o644)
    assert examined(made)["file of the pepper"]["advice"] == f"chmod 600 {place}"


def test_a_clock_that_went_back_is_found(made: Shell) -> None:
    with closing(sqlite3.connect(database(made))) as db:
        columns = "call_id, received_at_ms, key_id, tags, asked_model, stream, status, attempts"
        values = ("c", int(time.time() * 1000) + 3_600_000, "k", "[]", "m", 0, 200, 1)
        db.execute(
            f"INSERT INTO calls ({columns}, duration_ms, facts) "  # noqa: S608
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, '[]')",
            values,
        )
        db.commit()
    assert examined(made, code=1)["clock and ledger"]["state"] == "fail"


@pytest.mark.parametrize(("wall", "state"), [((10.0, 20.0), "ok"), ((10.0, 3620.0), "warn")])
def test_a_clock_that_jumps_is_found(wall: tuple[float, float], state: str) -> None:
    walls, steadies = iter([*wall, wall[1]]), iter([100.0, 110.0])
    clock = Clock(lambda: next(walls), lambda: next(steadies))
    assert clock.verdict().state == state


@pytest.mark.parametrize(("free", "state"), [(10**7, "fail"), (5 * 10**8, "warn")])
def test_a_full_disk_is_told(
    made: Shell, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(doctor_stores.shutil, "disk_usage", lambda _: usage)
    assert examined(made, code=state == "fail")["disk"]["state"] == state


def test_redis_is_asked(made: Shell, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        made.path.write_text(f'{made.path.read_text()}[redis]\nurl = "{server.url}"\n')
        found = examined(made)
    assert found["Redis"]["found"].startswith("version ")
    assert found["clock and Redis"]["state"] == "ok"


def test_a_redis_that_is_away_is_told_without_its_password(made: Shell) -> None:
    made.path.write_text(f'{made.path.read_text()}[redis]\nurl = "redis://:pw@127.0.0.1:1/0"\n')
    said = made.run("doctor", code=1).stdout
    assert "FAIL  Redis: not reachable: ConnectionError" in said
    assert "pw@" not in said


def test_a_running_gateway_is_asked(made: Shell, echo_gateway: GatewayProcess) -> None:
    assert examined(made, "--url", echo_gateway.base_url)["gateway"]["state"] == "ok"
    assert examined(made, "--url", UNUSED, code=1)["gateway"]["state"] == "fail"


async def test_a_gateway_that_is_not_ready_says_what_is_amiss(made: Shell) -> None:
    told = json_answer({"status": "not ready", "checks": {"database": False, "lanes": True}}, 503)
    async with Upstream(told) as upstream:
        found = await asyncio.to_thread(examined, made, "--url", upstream.url, code=1)
    assert found["gateway"]["found"] == f"{upstream.url} is not ready: database"


ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "O"}, "finish_reason": "length"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (json_answer(ANSWER, date="Mon, 01 Jan 2024 00:00:00 GMT"), "ok", "answered"),
        (json_answer({"error": {"message": "no"}}, 401), "fail", "credentials add"),
        (json_answer({"error": {"message": "max_tokens"}}, 400), "warn", "another model"),
        (Answer(status=500), "fail", "status page"),
    ],
)
async def test_providers_are_called_on_request(
    made: Shell, answer: Answer, state: str, said: str
) -> None:
    async with Upstream(answer) as upstream:
        near = f'[providers.openai]\nbase_url = "{upstream.url}/v1"\n'
        made.path.write_text(made.path.read_text().replace("[providers.openai]\n", near))
        assert "call openai" not in await asyncio.to_thread(examined, made)
        assert upstream.requests == []
        call = ("--call", "--provider", "openai")
        found = await asyncio.to_thread(examined, made, *call, code=state == "fail")
        asked = upstream.requests[0]
    verdict = found["call openai"]
    assert (verdict["state"], said in f"{verdict['found']} {verdict['advice']}") == (state, True)
    assert (asked.json["max_tokens"], asked.json["model"]) == (1, "gpt-4o-mini")
    assert asked.headers["authorization"] == "Bearer sk-stored-secret-1234"
    assert "call echo" not in found
    if state == "ok":
        assert found["clock and provider"]["state"] == "warn"


def test_a_call_needs_a_provider_that_is_there_and_on(shell: Shell) -> None:
    found = states(examined(shell, "--call", "--provider", "nope", "--provider", "openai", code=1))
    assert (found["call nope"], found["call openai"]) == ("fail", "fail")
    assert examined(shell, "--call")["call echo"]["state"] == "ok"
    shell.failure("doctor", "--provider", "echo", code=2)
