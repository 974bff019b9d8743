"""The proof: whatever a killed process had a provider serve stands in the ledger, once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.store.database import Prepared, Store, prepare
from tests.gateway.store.entries import Rows, until
from tests.gateway.store.kill_worker import DATABASE, KEYS, cost_nano_usd

ROUNDS = 15
LONGEST_S = 0.6
STARTED_WITHIN_S = 20.0
SWEPT_WITHIN_S = DATABASE.lease_s + 3.0


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(DATABASE, KEYS, tmp_path)


@pytest.fixture
def rows(prepared: Prepared) -> Iterator[Rows]:
    rows = Rows(prepared.path)
    yield rows
    rows.close()


@contextmanager
def _killed_at_the_end(directory: Path, name: str) -> Iterator[None]:
    """A process that is at work inside the block, and then killed."""
    log = directory / f"{name}.log"
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.store.kill_worker", directory, name]
    )
    try:
        give_up = time.monotonic() + STARTED_WITHIN_S
        while not log.exists() or log.stat().st_size == 0:
            assert worker.poll() is None, "the worker ended by itself"
            assert time.monotonic() < give_up, "the worker does not begin"
            time.sleep(0.005)
        yield
    finally:
        worker.kill()
        worker.wait()


def _kill_at_random_moments(directory: Path, rounds: int) -> None:
    for round_ in range(rounds):
        with _killed_at_the_end(directory, f"round{round_}"):
            time.sleep(random.uniform(0.0, LONGEST_S))  # noqa: S311 - no secret


def _open_charges(rows: Rows, owner: str | None = None) -> int:
    open_ones = [charge for charge in rows.charges().values() if charge["state"] == "open"]
    return len([charge for charge in open_ones if charge["owner"] != owner])


def _logged(directory: Path) -> tuple[list[str], dict[str, int]]:
    served: list[str] = []
    settled: dict[str, int] = {}
    for log in directory.glob("*.log"):
        for line in log.read_text().splitlines():
            kind, charge_id, *cost = line.split()
            if kind == "served":
                served.append(charge_id)
            else:
                settled[charge_id] = int(cost[0])
    return served, settled


def _check(rows: Rows, directory: Path, least: int) -> None:
    charges, (served, settled) = rows.charges(), _logged(directory)
    assert len(served) >= least, "too little load to prove anything"
    assert len(served) == len(set(served))
    assert set(served) <= set(charges)  # and a charge's id is unique: none stands there twice
    in_ledger = {name: charges[name]["cost_nano_usd"] for name in settled}
    assert in_ledger == settled
    assert sum(in_ledger.values()) == sum(cost_nano_usd(name) for name in settled)
    assert {charge["state"] for charge in charges.values()} == {"settled", "lost"}
    for name, charge in charges.items():
        expected = cost_nano_usd(name) if charge["state"] == "settled" else 1_000
        assert charge["cost_nano_usd"] == expected, name
    assert {charge["call_id"] for charge in charges.values()} <= set(rows.calls())
    assert rows.all("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


async def test_the_next_process_finds_all_that_was_served(
    prepared: Prepared, rows: Rows, tmp_path: Path
) -> None:
    await asyncio.to_thread(_kill_at_random_moments, tmp_path, ROUNDS)
    assert _open_charges(rows) > 0, "no attempt was cut off"
    survivor = await Store.open(prepared, DATABASE, KEYS)
    await until(lambda: _open_charges(rows) == 0, SWEPT_WITHIN_S)
    await survivor.close()
    _check(rows, tmp_path, least=50 * ROUNDS)


async def test_a_process_that_goes_on_sweeps_while_others_are_killed(
    prepared: Prepared, rows: Rows, tmp_path: Path
) -> None:
    with _killed_at_the_end(tmp_path, "survivor"):
        owner = rows.all("SELECT id FROM processes")[0]["id"]
        await asyncio.to_thread(_kill_at_random_moments, tmp_path, 4)
        assert _open_charges(rows, owner) > 0, "no attempt was cut off"
        await until(lambda: _open_charges(rows, owner) == 0, SWEPT_WITHIN_S)
    next_one = await Store.open(prepared, DATABASE, KEYS)
    await until(lambda: _open_charges(rows) == 0, SWEPT_WITHIN_S)
    await next_one.close()
    _check(rows, tmp_path, least=200)
