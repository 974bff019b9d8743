"""Is what happens shown, once and live, and are secrets asked for without an echo?"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.deployment import Deployment
from gateway.cli.output import screen
from gateway.cli.topframe import Frame, Screen
from gateway.configfile import load
from gateway.store.database import Store, prepare
from tests.gateway.cli.conftest import Shell
from tests.gateway.cli.terminal import Terminal
from tests.gateway.cli.test_cli_reports import intent, record, settlement
from tests.gateway_process import GatewayProcess

NOW_MS = int(time.time() * 1000)
QUIET = Frame(
    at_ms=NOW_MS,
    calls_per_s=0.0,
    calls=0,
    errors=0,
    p50_ms=None,
    p95_ms=None,
    first_event_p50_ms=None,
    cache_hit_rate=None,
    hour_nano_usd=0,
    today_nano_usd=0,
    targets=(),
    keys=(),
    failures=(),
)


async def happened(shell: Shell, key: str) -> None:
    """Three calls a moment ago: one failed."""
    config = load(shell.path, {})
    prepared = prepare(config.database, config.keys, shell.path.parent)
    store = await Store.open(prepared, config.database, config.keys)
    at_ms = int(time.time() * 1000) - 2_000
    for number in range(3):
        call, error = f"c{number}", "timeout" if number == 2 else None
        await store.accounts.open(intent(call, 1, key, "openai", at_ms))
        settled = settlement(f"{call}.1", 0 if error else 1_400_000, error)
        await store.accounts.settle(replace(settled, settled_at_ms=at_ms + 500))
        store.accounts.record(record(call, key, at_ms, 504 if error else 200, error))
    await store.close()


@pytest.fixture
def busy(shell: Shell) -> Shell:
    asyncio.run(happened(shell, shell.json("keys", "create", "laptop")["id"]))
    return shell


def environ(shell: Shell) -> dict[str, str]:
    return {"SLUICE_CONFIG": str(shell.path)}


def test_one_frame_is_printed_where_there_is_no_terminal(busy: Shell) -> None:
    shown = busy.run("top").stdout
    assert "0.05" in shown  # three calls in a minute
    assert "1 (33.3%)" in shown
    assert "$0.002800" in shown
    assert "openai/m" in shown
    assert "laptop" in shown
    assert "timeout" in shown
    assert "\x1b" not in shown


def test_a_frame_for_programs(busy: Shell) -> None:
    frame = busy.json("top", "--once")
    assert (frame["calls"], frame["errors"], frame["hour_nano_usd"]) == (3, 1, 2_800_000)
    (target,) = frame["targets"]
    assert (target["target"], target["attempts"], target["errors"]) == ("openai/m", 3, 1)
    assert frame["keys"][0]["name"] == "laptop"
    assert frame["cache_hit_rate"] is None


@pytest.mark.parametrize("key", ["q", "xQ", "\x03"])
def test_it_is_live_until_it_is_ended(busy: Shell, key: str) -> None:
    with Terminal(["top", "--every", "0.2"], environ(busy)) as terminal:
        terminal.until("1 (33.3%)")
        with closing(sqlite3.connect(busy.path.parent / "state" / "sluice.db")) as db:
            db.execute("UPDATE keys SET name = 'renamed'")
            db.commit()
        terminal.until("renamed")
        terminal.press(key)
        assert terminal.status() == 0


def test_it_goes_on_when_nobody_answers(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        given = {"SLUICE_URL": gateway.url, "SLUICE_ADMIN_KEY": gateway.admin_key}
        with Terminal(["top", "--every", "0.2"], given) as terminal:
            terminal.until("a remote gateway")
            gateway.stop()
            terminal.until("no gateway answers")
            terminal.press("q")
            assert terminal.status() == 0


def test_rates_are_drawn_over_time(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Screen("here")
    for rate in (0.0, 1.0, 2.0):
        rendered = shown.show(replace(QUIET, calls_per_s=rate), "no answer")
    screen(100).print(rendered)
    text = capsys.readouterr().out
    assert "▁▅█" in text or "▁▄█" in text
    assert "no answer" in text


def test_a_secret_is_asked_for_without_an_echo(shell: Shell) -> None:
    with Terminal(["credentials", "add", "openai"], environ(shell)) as terminal:
        terminal.until("Secret:")
        terminal.press("sk-typed-secret-1234\r")
        assert terminal.status() == 0
        assert "is kept" in terminal.shown
        assert "typed" not in terminal.shown
    assert shell.json("credentials", "list")[-1]["hint"] == "…1234"


@pytest.mark.parametrize(("answer", "status"), [("y\r", 0), ("n\r", 1)])
def test_a_deletion_is_asked_about(busy: Shell, answer: str, status: int) -> None:
    with closing(sqlite3.connect(busy.path.parent / "state" / "sluice.db")) as db:
        db.execute("UPDATE calls SET received_at_ms = received_at_ms - 864000000")
        db.execute("UPDATE charges SET opened_at_ms = opened_at_ms - 864000000")
        db.commit()
    with Terminal(["prune", "--older-than", "2d"], environ(busy)) as terminal:
        terminal.until("Delete them for good?")
        terminal.press(answer)
        assert terminal.status() == status
        assert ("Deleted 3 calls and 3 attempts." in terminal.shown) is (status == 0)
        assert ("Deleting" in terminal.shown) is (status == 0)  # a bar, for somebody watches


def test_a_look_asks_no_more_than_four_questions(busy: Shell) -> None:
    from gateway.cli.local import LocalDeployment
    from gateway.cli.topframe import look

    asked: list[str] = []

    class Counting(LocalDeployment):
        def ask(self, method: str, *place: str, **more: object) -> object:
            asked.append(place[0])
            return super().ask(method, *place, **more)

    with Counting(busy.path) as deployment:
        seen: Deployment = deployment
        look(seen, int(time.time() * 1000))
    assert asked == ["overview", "usage", "usage", "usage"]
