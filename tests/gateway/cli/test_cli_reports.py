"""Do `usage` and `calls` say what the ledger says?"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from gateway.configfile import load
from gateway.ledger import CallRecord, Intent, Settlement
from gateway.pricing import Price
from gateway.store.database import Store, prepare
from gateway.usage import Usage
from tests.gateway.cli.conftest import Shell

DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2  # 2024-10-04 12:00 UTC
PRICE = Price.from_entry({"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"})


def intent(call: str, attempt: int, key: str, provider: str, at_ms: int) -> Intent:
    return Intent(
        charge_id=f"{call}.{attempt}",
        call_id=call,
        attempt=attempt,
        key_id=key,
        team="research",
        tags=("nightly",),
        asked_model="smart",
        provider=provider,
        model="m",
        credential="default",
        price=PRICE if provider == "openai" else None,
        bound_nano_usd=1_000_000 if provider == "openai" else None,
        opened_at_ms=at_ms,
    )


def settlement(charge: str, cost: int | None, error: str | None = None) -> Settlement:
    return Settlement(
        charge_id=charge,
        usage=None if error else Usage(prompt_tokens=1000, completion_tokens=200),
        cost_nano_usd=cost,
        error=error,
        settled_at_ms=NOON_MS + 500,
        first_event_ms=120,
        duration_ms=500,
    )


def record(
    call: str, key: str, at_ms: int, status: int = 200, error: str | None = None
) -> CallRecord:
    facts = [
        {"fact": "identified", "key": key, "team": None},
        {"fact": "attempt_started", "number": 1, "target": "openai/m", "at_us": 1000},
    ]
    return CallRecord(
        call_id=call,
        received_at_ms=at_ms,
        key_id=key,
        team="research",
        tags=("nightly",),
        asked_model="smart",
        alias="smart",
        target=None if error else "openai/m",
        stream=True,
        status=status,
        error=error,
        attempts=1,
        first_event_ms=120,
        duration_ms=1500,
        overhead_ms=0.75,
        facts=json.dumps(facts),
    )


async def write(path: Path, key: str) -> None:
    """Two calls on two days, the second one with a failed attempt, and one under way."""
    config = load(path, {})
    prepared = prepare(config.database, config.keys, path.parent)
    store = await Store.open(prepared, config.database, config.keys)
    accounts = store.accounts
    await accounts.open(intent("c1", 1, key, "openai", NOON_MS))
    await accounts.settle(settlement("c1.1", 1_400_000))
    accounts.record(record("c1", key, NOON_MS))
    await accounts.open(intent("c2", 1, key, "openai", NOON_MS + DAY_MS))
    await accounts.settle(settlement("c2.1", 0, "timeout"))
    await accounts.open(intent("c2", 2, key, "echo", NOON_MS + DAY_MS))
    await accounts.settle(settlement("c2.2", None))
    accounts.record(record("c2", key, NOON_MS + DAY_MS, 504, "timeout"))
    await accounts.open(intent("c3", 1, "gone", "openai", NOON_MS + DAY_MS))
    await accounts.settle(settlement("c3.1", 1_499))
    await store.close()


@pytest.fixture
def key(shell: Shell) -> str:
    """The id of the key `laptop`, which made the calls."""
    key_id: str = shell.json("keys", "create", "laptop")["id"]
    asyncio.run(write(shell.path, key_id))
    return key_id


def test_usage_is_summed_by_group(shell: Shell, key: str) -> None:
    shown = shell.json("usage", "--by", "day", "--by", "key")
    assert shown["by"] == ["day", "key"]
    found = [
        (row["day"], row["key"], row["key_name"], row["calls"], row["attempts"], row["cost_usd"])
        for row in shown["rows"]
    ]
    assert sorted(found) == sorted(
        [
            ("2024-10-04", key, "laptop", 1, 1, "0.001400000"),
            ("2024-10-05", key, "laptop", 1, 2, "0.000000000"),
            ("2024-10-05", "gone", None, 1, 1, "0.000001499"),
        ]
    )
    assert shown["total"]["cost_nano_usd"] == 1_401_499
    assert shown["total"]["calls"] == 3


def test_a_call_that_two_providers_tried_is_one_call_in_the_total(shell: Shell, key: str) -> None:
    shown = shell.json("usage", "--by", "provider")
    assert {row["provider"]: row["calls"] for row in shown["rows"]} == {"echo": 1, "openai": 3}
    assert shown["total"]["calls"] == 3


def test_the_table_of_usage_ends_in_its_total(shell: Shell, key: str) -> None:
    lines = shell.run("usage", "--by", "provider").stdout.splitlines()
    assert lines[1].split()[:2] == ["provider", "calls"]
    assert lines[-2].split()[:2] == ["total", "3"]
    assert "$0.001401" in lines[-2]
    assert "1 unpriced" in lines[-2]


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        (["--until", "2024-10-05"], 1),
        (["--since", "2024-10-05"], 2),
        (["--since", "2024-10-04T12:00", "--until", "2024-10-04T12:01"], 1),
        (["--key", "laptop"], 2),
        (["--team", "nobody"], 0),
        (["--model", "smart"], 3),
        (["--since", "1d"], 0),
    ],
)
def test_usage_is_filtered(shell: Shell, key: str, arguments: list[str], calls: int) -> None:
    assert shell.json("usage", *arguments)["total"]["calls"] == calls


def test_usage_as_csv_has_exact_numbers(shell: Shell, key: str) -> None:
    shown = shell.run("usage", "--by", "model", "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(shown))
    assert row["model"] == "smart"
    assert row["cost_nano_usd"] == "1401499"
    assert row["prompt_tokens"] == "3000"


def test_the_latest_calls_come_first(shell: Shell, key: str) -> None:
    shown = shell.json("calls")
    assert [call["call_id"] for call in shown["calls"]] == ["c2", "c1"]
    assert shown["calls"][1]["cost_nano_usd"] == 1_400_000
    assert shown["calls"][1]["key_name"] == "laptop"
    assert shown["next"] is None
    table = shell.run("calls").stdout
    assert "2024-10-04 12:00:00" in table
    assert "$0.001400" in table
    assert "1.50 s" in table


def test_a_list_of_calls_goes_on_after_its_end(shell: Shell, key: str) -> None:
    first = shell.json("calls", "--limit", "1")
    second = shell.json("calls", "--limit", "1", "--after", first["next"])
    assert [call["call_id"] for call in first["calls"] + second["calls"]] == ["c2", "c1"]
    assert second["next"] is None
    assert shell.failure("calls", "--after", "x", code=2) == "after is no place in this list."


def test_a_long_list_is_asked_for_page_by_page(
    shell: Shell, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.calls._PAGE", 1)
    shown = shell.json("calls", "--limit", "2")
    assert [call["call_id"] for call in shown["calls"]] == ["c2", "c1"]
    assert shown["next"] is None


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        (["--error", "timeout"], ["c2"]),
        (["--status", "200"], ["c1"]),
        (["--key", "laptop", "--until", "2024-10-05"], ["c1"]),
        (["--model", "other"], []),
    ],
)
def test_calls_are_filtered(shell: Shell, key: str, arguments: list[str], calls: list[str]) -> None:
    assert [call["call_id"] for call in shell.json("calls", *arguments)["calls"]] == calls


def test_calls_as_csv_have_a_header_even_when_there_is_none(shell: Shell, key: str) -> None:
    some = shell.run("calls", "--format", "csv").stdout.splitlines()
    none = shell.run("calls", "--format", "csv", "--model", "other").stdout.splitlines()
    assert len(some) == 3
    assert none == some[:1]


def test_a_call_is_shown_with_its_attempts_and_its_trace(shell: Shell, key: str) -> None:
    shown = shell.json("calls", "show", "c2")
    assert shown["call"]["status"] == 504
    assert [(a["target"], a["error"]) for a in shown["attempts"]] == [
        ("openai/m", "timeout"),
        ("echo/m", None),
    ]
    assert shown["attempts"][1]["usage"]["prompt_tokens"] == 1000
    assert shown["trace"][0]["fact"] == "identified"
    text = shell.run("calls", "show", "c2").stdout
    assert "openai/m" in text
    assert "attempt_started" in text
    assert "number=1, target=openai/m" in text
    assert "at (ms)" in text
    assert "1.0   attempt_started" in text


def test_a_call_without_a_row_is_shown_by_its_attempts(shell: Shell, key: str) -> None:
    assert shell.json("calls", "show", "c3")["call"] is None
    assert "has not ended" in shell.run("calls", "show", "c3").stdout


def test_an_unknown_call_is_a_failure(shell: Shell, key: str) -> None:
    assert shell.failure("calls", "show", "c9") == "The ledger has no call 'c9'."


def test_an_unknown_key_is_misuse(shell: Shell, key: str) -> None:
    line = shell.failure("usage", "--key", "nobody", code=2)
    assert line.startswith("'nobody' is no key's id or name.")


def test_without_a_database_there_is_a_hint_and_none_is_made(shell: Shell) -> None:
    for command in ("usage", "calls"):
        assert "sluice serve makes it" in shell.failure(command)
    assert not (shell.path.parent / "state").exists()


def test_an_empty_ledger_is_no_failure(shell: Shell) -> None:
    shell.run("keys", "create", "a")
    assert shell.run("usage").stderr == "There is none.\n"
    assert shell.json("calls") == {"calls": [], "next": None}
