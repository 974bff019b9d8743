"""Is all of the ledger exported, to the nano-dollar, in forms that others can read?"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gateway.cli.exportfiles import iso
from gateway.cli.exporting import Period, days, month_of
from gateway.store import exports
from gateway.store.sqlite import reading
from tests.gateway.cli.conftest import Shell
from tests.gateway.cli.test_cli_reports import DAY_MS, NOON_MS, write

COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")


@pytest.fixture
def key(shell: Shell) -> str:
    key_id: str = shell.json("keys", "create", "laptop", "--team", "research")["id"]
    asyncio.run(write(shell.path, key_id))
    return key_id


def database(shell: Shell) -> Path:
    return shell.path.parent / "state" / "sluice.db"


def rows(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    text = shell.run("export", *arguments, "--format", "jsonl").stdout
    return [json.loads(line) for line in text.splitlines()]


def table(shell: Shell, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shell.run("export", *arguments).stdout)))


def ledger_nano_usd(shell: Shell) -> int:
    with closing(sqlite3.connect(database(shell))) as db:
        return int(db.execute("SELECT SUM(cost_nano_usd) FROM charges").fetchone()[0])


def test_calls_have_their_rows(shell: Shell, key: str) -> None:
    found = rows(shell, "calls")
    assert [row["call_id"] for row in found] == ["c1", "c2"]
    assert found[0]["time"] == "2024-10-04T12:00:00Z"
    assert (found[0]["stream"], found[0]["tags"], found[0]["key_name"]) == (
        True,
        ["nightly"],
        "laptop",
    )
    assert "facts" not in found[0]


def test_charges_add_up_to_the_ledger(shell: Shell, key: str) -> None:
    found = rows(shell, "charges")
    assert [row["charge_id"] for row in found] == ["c1.1", "c2.1", "c2.2", "c3.1"]
    assert sum(row["cost_nano_usd"] or 0 for row in found) == ledger_nano_usd(shell) == 1_401_499
    assert sum(Decimal(row["cost_usd"] or 0) for row in found) == Decimal("0.001401499")
    assert found[2]["cost_usd"] is None
    assert found[2]["unpriced"] is True


def test_usage_adds_up_too(shell: Shell, key: str) -> None:
    found = table(shell, "usage")
    named = [(r["day"], r["provider"], r["model"], r["key_name"]) for r in found]
    assert sorted(named) == [
        ("2024-10-04", "openai", "m", "laptop"),
        ("2024-10-05", "echo", "m", "laptop"),
        ("2024-10-05", "openai", "m", ""),
        ("2024-10-05", "openai", "m", "laptop"),
    ]
    assert sum(Decimal(row["cost_usd"]) for row in found) == Decimal("0.001401499")
    assert sum(int(row["attempts"]) for row in found) == 4


@pytest.mark.parametrize(
    ("since", "until", "charges"),
    [
        ("2024-10-05", "2024-10-06", 3),
        ("2024-10-04", "2024-10-05", 1),
        ("2024-10-04T12:00", "2024-10-04T12:01", 1),
        ("2024-10-01", "2024-10-04", 0),
        ("2024-10-06", "2024-10-05", 0),
    ],
)
def test_a_period_has_its_rows(
    shell: Shell, key: str, since: str, until: str, charges: int
) -> None:
    assert len(rows(shell, "charges", "--since", since, "--until", until)) == charges


@pytest.mark.parametrize("what", ["usage", "charges"])
def test_focus_adds_up_and_keeps_to_its_rules(shell: Shell, key: str, what: str) -> None:
    found = table(shell, what, "--format", "focus", "--account", "acme")
    for cost in COSTS:
        assert sum(Decimal(row[cost]) for row in found) == Decimal("0.001401499")
    first = found[0]
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == (
        "2024-10-01T00:00:00Z",
        "2024-11-01T00:00:00Z",
    )
    assert first["ServiceCategory"] == "AI and Machine Learning"
    assert (first["SkuId"], first["ProviderName"]) == ("openai/m", "openai")
    assert (first["SubAccountId"], first["SubAccountType"]) == ("research", "Team")
    assert (first["ResourceId"], first["ResourceName"]) == (key, "laptop")
    assert (first["BillingAccountId"], first["BillingCurrency"]) == ("acme", "USD")
    for row in found:
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["ConsumedQuantity"] == row["PricingQuantity"]
        assert int(row["ConsumedQuantity"]) > 0
        assert isinstance(json.loads(row["Tags"]), dict)
        assert (row["ChargeClass"], row["ChargeCategory"]) == ("", "Usage")
        assert row["ChargeFrequency"] == "Usage-Based"
    custom = [name for name in first if name.startswith("x_")]
    assert list(first)[-len(custom) :] == custom
    if what == "charges":
        assert json.loads(first["Tags"]) == {"nightly": True}


@pytest.mark.parametrize("what", ["calls", "charges", "usage"])
def test_parquet_has_the_same_rows(shell: Shell, key: str, tmp_path: Path, what: str) -> None:
    file = tmp_path / "rows.parquet"
    told = shell.json("export", what, "--format", "parquet", "-o", str(file))
    found = pq.read_table(file)
    assert told == {"file": str(file), "rows": found.num_rows}
    others = rows(shell, what)
    assert len(others) == found.num_rows
    assert found.column_names == list(others[0])
    if what != "calls":
        total = sum(value or 0 for value in found["cost_usd"].to_pylist())
        assert total == Decimal("0.001401499")


def test_focus_may_be_parquet(shell: Shell, key: str, tmp_path: Path) -> None:
    file = tmp_path / "focus.parquet"
    shell.run("export", "usage", "--format", "focus", "-o", str(file))
    found = pq.read_table(file)
    assert sum(found["BilledCost"].to_pylist()) == Decimal("0.001401499")
    assert str(found.schema.field("ChargePeriodStart").type) == "timestamp[ms, tz=UTC]"


def test_without_pyarrow_one_is_told_what_to_install(
    shell: Shell, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "rows.parquet"
    said = shell.failure("export", "usage", "--format", "parquet", "-o", str(file))
    assert "install sluice-gateway[parquet]" in said
    assert list(tmp_path.glob("*rows*")) == []


def test_a_file_is_replaced_only_by_a_whole_one(
    shell: Shell, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.cli.export.CsvRows.write", broken)
        assert "No space left" in shell.failure("export", "calls", "-o", str(file))
    assert file.read_text() == "old"
    assert shell.run("export", "calls", "-o", str(file)).stderr == "Wrote 2 rows.\n"
    assert file.read_text().startswith("time,call_id,")
    assert {path.name for path in tmp_path.glob("*calls*")} == {"calls.csv"}


def test_a_text_is_no_formula(shell: Shell, key: str) -> None:
    with closing(sqlite3.connect(database(shell))) as db:
        db.execute("UPDATE charges SET asked_model = '=1+1' WHERE charge_id = 'c1.1'")
        db.commit()
    assert table(shell, "charges")[0]["asked_model"] == "'=1+1"
    assert rows(shell, "charges")[0]["asked_model"] == "=1+1"


@pytest.mark.parametrize(
    "arguments",
    [
        ("calls", "--format", "focus"),
        ("keys",),
        ("calls", "--json"),
        ("calls", "--format", "xml"),
    ],
)
def test_an_impossible_export_is_refused(
    shell: Shell, key: str, arguments: tuple[str, ...]
) -> None:
    shell.failure("export", *arguments, code=2)


def test_there_is_nothing_to_export_without_a_database(shell: Shell) -> None:
    assert "sluice serve makes it" in shell.failure("export", "calls")


async def test_batches_miss_no_row_of_one_moment_and_have_none_twice(
    shell: Shell, tmp_path: Path
) -> None:
    await asyncio.to_thread(shell.run, "keys", "list")
    columns = ", ".join(exports.CALLS.columns)
    with closing(sqlite3.connect(database(shell))) as db:
        for number in range(11):
            values = {
                **dict.fromkeys(exports.CALLS.columns, 0),
                "call_id": f"c{number:02}",
                "received_at_ms": NOON_MS + (number >= 7),
                "tags": "[]",
            }
            marks = ", ".join("?" * len(values))
            db.execute(
                f"INSERT INTO calls ({columns}, facts) VALUES ({marks}, '[]')",  # noqa: S608
                tuple(values.values()),
            )
        db.commit()
    async with reading(database(shell)) as connection:
        pages = [
            page
            async for page in exports.batches(
                connection, exports.CALLS, NOON_MS, NOON_MS + DAY_MS, batch=3
            )
        ]
        assert await exports.count(connection, exports.CALLS, NOON_MS, NOON_MS + 1) == 7
    assert [len(page) for page in pages] == [3, 3, 3, 2]
    assert [row[0] for page in pages for row in page] == [f"c{number:02}" for number in range(11)]


def test_days_and_months_are_utc() -> None:
    cut = Period(since_ms=NOON_MS, until_ms=NOON_MS + DAY_MS)
    assert [end - start for start, end in days(cut)] == [DAY_MS // 2, DAY_MS // 2]
    assert [iso(ms) for ms in month_of(NOON_MS)] == ["2024-10-01T00:00:00Z", "2024-11-01T00:00:00Z"]
    assert iso(NOON_MS + 7) == "2024-10-04T12:00:00.007Z"
