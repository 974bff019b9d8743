"""Does a prune keep what calls came to, and does recost change nothing?"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cli.conftest import Shell
from tests.gateway.cli.test_cli_reports import write

TABLE = {
    "m": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 4e-6,
    }
}


@pytest.fixture
def key(shell: Shell) -> str:
    key_id: str = shell.json("keys", "create", "laptop")["id"]
    asyncio.run(write(shell.path, key_id))
    return key_id


def ledger(shell: Shell) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(shell.path.parent / "state" / "sluice.db")) as db:
        return db.execute("SELECT * FROM charges ORDER BY charge_id").fetchall()


def test_a_dry_run_says_what_would_go(shell: Shell, key: str) -> None:
    told = shell.json("prune", "--older-than", "2024-10-05", "--dry-run")
    assert (told["calls"], told["charges"], told["dry_run"]) == (1, 1, True)
    assert len(ledger(shell)) == 4


def test_what_calls_came_to_outlives_them(shell: Shell, key: str) -> None:
    asked = ("usage", "--by", "day", "--by", "key")
    before = shell.json(*asked)
    exported = shell.run("export", "usage").stdout
    assert "add --yes" in shell.run("prune", "--older-than", "2024-10-05", code=1).stderr
    said = shell.run("prune", "--older-than", "2024-10-05", "--yes").output
    assert said.splitlines() == [
        "Before 2024-10-05 00:00:00 UTC: 1 calls and 1 attempts.",
        "Deleted 1 calls and 1 attempts.",
    ]
    assert [row[0] for row in ledger(shell)] == ["c2.1", "c2.2", "c3.1"]
    assert shell.json(*asked) == before
    assert shell.run("export", "usage").stdout == exported
    assert shell.json("audit", "--limit", "1")[0]["action"] == "ledger.prune"
    assert shell.json("prune", "--older-than", "2024-10-05", "--yes")["charges"] == 0


def test_what_is_young_stays(shell: Shell, key: str) -> None:
    assert "younger than a day" in shell.failure("prune", "--older-than", "1h", "--yes", code=2)
    assert "Missing option '--older-than'" in shell.failure("prune", code=2)


def test_past_calls_are_costed_by_a_table(shell: Shell, key: str, tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(json.dumps(TABLE))
    before = ledger(shell)
    told = shell.json("recost", "--prices", str(file), "--by", "provider")
    rows = {row["provider"]: row for row in told["rows"]}
    # 1,000 prompt and 200 completion tokens each, twice at openai.
    assert rows["openai"]["was_nano_usd"] == 1_401_499
    assert rows["openai"]["would_be_nano_usd"] == 2 * (1000 * 2000 + 200 * 4000)
    assert (rows["echo"]["kept"], rows["echo"]["unpriced"]) == (1, 1)
    assert told["total"]["difference_nano_usd"] == 5_600_000 - 1_401_499
    assert ledger(shell) == before
    shown = shell.run("recost", "--prices", str(file))
    assert "+299.6%" in shown.stdout
    assert "1 attempts are of models that those prices do not know" in shown.stderr


def test_a_file_of_ones_own_prices_what_it_names(shell: Shell, key: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["openai/m"]\ninput_cost_per_token = 1e-6\noutput_cost_per_token = 0\n')
    given = ("recost", "--prices", str(file), "--key", "laptop", "--by", "target", "--by", "day")
    table = shell.run(*given, "--format", "csv").stdout
    (row,) = [row for row in csv.DictReader(io.StringIO(table)) if row["target"] == "openai/m"]
    assert (row["day"], row["was_usd"], row["would_be_usd"]) == (
        "2024-10-04",
        "0.001400000",
        "0.001000000",
    )
    file.write_text('["echo/m"]\ninput_cost_per_token = 1e-6\noutput_cost_per_token = 0\n')
    told = shell.json("recost", "--prices", str(file))["total"]
    assert (told["was_nano_usd"], told["would_be_nano_usd"]) == (1_401_499, 2_401_499)
    assert told["kept"] == 2


def test_prices_are_those_of_a_day(shell: Shell, key: str) -> None:
    model = "openai/gpt-4o-mini"
    with closing(sqlite3.connect(shell.path.parent / "state" / "sluice.db")) as db:
        db.execute("UPDATE charges SET model = 'gpt-4o-mini' WHERE provider = 'openai'")
        db.commit()
    shell.run("prices", "set", model, "--input", "1", "--output", "1", "--from", "2100-01-01")
    for day, would_be in (("2099-12-31", 2 * 270_000), ("2100-01-01", 2 * 1_200_000)):
        told = shell.json("recost", "--as-of", day, "--by", "provider")
        assert told["rows"][0]["would_be_nano_usd"] == would_be


@pytest.mark.parametrize(
    "arguments",
    [(), ("--as-of", "2024-01-01", "--prices", "{file}"), ("--as-of", "7d", "--key", "nobody")],
)
def test_an_impossible_question_is_refused(
    shell: Shell, key: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    file = tmp_path / "table.json"
    file.write_text(json.dumps(TABLE))
    shell.failure("recost", *(a.format(file=file) for a in arguments), code=2)
