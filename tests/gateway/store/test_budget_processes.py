"""The proof: budgets hold with many calls at once, in several processes, some of them killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.budgetadmin import BudgetAdmin, BudgetDraft
from gateway.store.database import Prepared, Store, prepare
from gateway.store.sqlite import reading
from tests.gateway.store.budget_worker import BOUND, DATABASE, KEYS, ROUNDS
from tests.gateway.store.entries import Rows, until

ROOM = 10
CALLS = 200
SWEPT_WITHIN_S = DATABASE.lease_s + 3.0
DEATHS = 8


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(DATABASE, KEYS, tmp_path)


@pytest.fixture
def rows(prepared: Prepared) -> Iterator[Rows]:
    rows = Rows(prepared.path)
    yield rows
    rows.close()


def start(directory: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    module = "tests.gateway.store.budget_worker"
    return subprocess.Popen([sys.executable, "-m", module, directory, name, *arguments])


async def set_budget(prepared: Prepared, team: str, limit_nano_usd: int) -> None:
    draft = BudgetDraft(
        scope="team",
        scope_value=team,
        period="total",
        zone="UTC",
        limit_nano_usd=limit_nano_usd,
        hard=True,
    )
    async with reading(prepared.path) as db:
        await BudgetAdmin(db).set(draft)


def balances(rows: Rows) -> dict[str, tuple[int, int, int]]:
    """By team: limit, spent, reserved."""
    query = "SELECT * FROM budgets JOIN budget_periods ON budget_id = id"
    return {
        row["scope_value"]: (
            row["limit_nano_usd"],
            row["spent_nano_usd"],
            row["reserved_nano_usd"],
        )
        for row in rows.all(query)
    }


def costs(rows: Rows) -> dict[str, int]:
    return Counter(
        {
            row["team"]: row["cost"]
            for row in rows.all(
                "SELECT team, SUM(cost_nano_usd) AS cost FROM charges GROUP BY team"
            )
        }
    )


def served(directory: Path) -> Counter[str]:
    logs = (log.read_text().splitlines() for log in directory.glob("*.log"))
    return Counter(line.removeprefix("served ") for lines in logs for line in lines)


@pytest.mark.parametrize("processes", [1, 3])
async def test_of_200_calls_at_once_exactly_10_reach_the_provider(
    prepared: Prepared, rows: Rows, tmp_path: Path, processes: int
) -> None:
    for number in range(ROUNDS):
        await set_budget(prepared, f"round{number}", ROOM * BOUND)
    count = str(-(-CALLS // processes))
    workers = [start(tmp_path, f"w{n}", "rounds", count, str(processes)) for n in range(processes)]
    codes = [await asyncio.to_thread(worker.wait, 60) for worker in workers]
    assert codes == [0] * processes
    assert served(tmp_path) == {f"round{n}": ROOM for n in range(ROUNDS)}
    full = (ROOM * BOUND, ROOM * BOUND, 0)
    assert balances(rows) == {f"round{n}": full for n in range(ROUNDS)}
    assert costs(rows) == {f"round{n}": ROOM * BOUND for n in range(ROUNDS)}
    assert rows.all("SELECT * FROM charge_reservations") == []


async def test_the_counter_is_the_ledger_whoever_is_killed_when(
    prepared: Prepared, rows: Rows, tmp_path: Path
) -> None:
    await set_budget(prepared, "mix", 0)
    cut_off = 0
    for death in range(DEATHS):
        spent = balances(rows)["mix"][1]
        await set_budget(prepared, "mix", spent + 15 * BOUND)
        worker = start(tmp_path, f"w{death}", "mix")
        try:
            await until((tmp_path / f"w{death}.log").exists, 20.0)
            await _watch(rows, random.uniform(0.05, 0.5))  # noqa: S311 - no secret
        finally:
            worker.kill()
            worker.wait()
        cut_off += balances(rows)["mix"][2]
    assert cut_off > 0, "no attempt was cut off"
    assert served(tmp_path)["mix"] > 20 * DEATHS, "too little load to prove anything"
    assert served(tmp_path)["topped up"] > 2 * DEATHS
    survivor = await Store.open(prepared, DATABASE, KEYS)
    await until(lambda: balances(rows)["mix"][2] == 0, SWEPT_WITHIN_S)
    await survivor.close()
    limit, spent, reserved = balances(rows)["mix"]
    assert (spent, reserved) == (costs(rows)["mix"], 0)
    assert 0 < spent <= limit
    assert rows.all("SELECT * FROM charge_reservations") == []
    assert {charge["state"] for charge in rows.charges().values()} == {"settled", "lost"}


# A sweep charges the bound: what an open charge holds, top-ups included, is exactly that.
_HELD_OTHERWISE = (
    "SELECT * FROM charges JOIN charge_reservations USING (charge_id) "
    "WHERE state = 'open' AND nano_usd <> bound_nano_usd"
)


async def _watch(rows: Rows, seconds: float) -> None:
    """Whenever one looks: no more than the limit is spent and held."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        limit, spent, reserved = balances(rows)["mix"]
        assert spent + reserved <= limit
        assert reserved >= 0
        assert rows.all(_HELD_OTHERWISE) == []
        await asyncio.sleep(0.001)
