from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from gateway.store import leases as leases_module
from gateway.store.accounts import SqlAccounts
from gateway.store.leases import LeaseLost, Leases
from gateway.store.writer import Writer
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import (
    NOW_MS,
    Clock,
    Rows,
    intent,
    record,
    settlement,
    until,
)


@dataclass
class Process:
    """What one process has of the store."""

    writer: Writer
    leases: Leases
    accounts: SqlAccounts


class Passing:
    """Seconds that pass, whatever the time of day is set to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


Start = Callable[[], Awaitable[Process]]


@pytest.fixture
def passing() -> Passing:
    return Passing()


@pytest.fixture
def start(open_writer: OpenWriter, clock: Clock, passing: Passing) -> Start:
    async def start_one() -> Process:
        writer = await open_writer()
        leases = Leases(writer, 5.0, clock, passing)
        await leases.renew()
        return Process(writer, leases, SqlAccounts(writer, leases, clock))

    return start_one


async def test_open_charges_of_a_dead_process_are_lost_at_their_bound(
    start: Start, clock: Clock, rows: Rows
) -> None:
    dead, survivor = await start(), await start()
    await dead.accounts.open(intent("call_1.1", bound_nano_usd=123))
    await dead.accounts.open(intent("call_2.1", bound_nano_usd=None, price=None))
    await dead.accounts.open(intent("call_3.1"))
    await dead.accounts.settle(settlement("call_3.1", cost_nano_usd=5))
    clock.now_ms += 5_000
    await survivor.leases.renew()
    assert await survivor.leases.sweep() == 2
    figures = ("state", "cost_nano_usd", "unpriced", "error", "settled_at_ms")
    assert {
        charge_id: tuple(charge[name] for name in figures)
        for charge_id, charge in rows.charges().items()
    } == {
        "call_1.1": ("lost", 123, 0, "lost", NOW_MS + 5_000),
        "call_2.1": ("lost", None, 1, "lost", NOW_MS + 5_000),
        "call_3.1": ("settled", 5, 0, None, NOW_MS + 900),
    }
    assert [row["id"] for row in rows.all("SELECT id FROM processes")] == [survivor.leases.owner()]


async def test_charges_of_a_living_process_are_left_alone(
    start: Start, clock: Clock, rows: Rows
) -> None:
    living, other = await start(), await start()
    await living.accounts.open(intent())
    clock.now_ms += 4_999
    assert await other.leases.sweep() == 0
    assert rows.charges()["call_1.1"]["state"] == "open"


async def test_processes_that_sweep_at_once_take_each_charge_once(
    start: Start, clock: Clock, rows: Rows
) -> None:
    dead = await start()
    await asyncio.gather(*(dead.accounts.open(intent(f"call_{n}.1")) for n in range(40)))
    survivors = [await start() for _ in range(4)]
    clock.now_ms += 5_000
    await asyncio.gather(*(survivor.leases.renew() for survivor in survivors))
    swept = await asyncio.gather(*(survivor.leases.sweep() for survivor in survivors))
    assert sorted(swept) == [0, 0, 0, 40]
    assert sum(charge["cost_nano_usd"] for charge in rows.charges().values()) == 40_000


async def test_a_process_that_was_swept_does_not_settle_and_goes_on_under_a_new_id(
    start: Start, clock: Clock, rows: Rows
) -> None:
    stopped, other = await start(), await start()
    before = stopped.leases.owner()
    await stopped.accounts.open(intent("call_1.1"))
    clock.now_ms += 5_000
    await other.leases.renew()
    await other.leases.sweep()
    with pytest.raises(LeaseLost):
        stopped.leases.owner()
    await stopped.accounts.settle(settlement("call_1.1", cost_nano_usd=5))
    await stopped.accounts.open(intent("call_2.1"))
    after = stopped.leases.owner()
    assert after != before
    charges = rows.charges()
    assert (charges["call_1.1"]["state"], charges["call_1.1"]["cost_nano_usd"]) == ("lost", 1_000)
    assert (charges["call_2.1"]["state"], charges["call_2.1"]["owner"]) == ("open", after)
    assert await other.leases.sweep() == 0


async def test_a_process_that_was_stopped_but_not_swept_keeps_its_charges(
    start: Start, clock: Clock, rows: Rows
) -> None:
    stopped = await start()
    await stopped.accounts.open(intent())
    clock.now_ms += 60_000
    await asyncio.gather(stopped.leases.renew(), stopped.leases.sweep())
    await stopped.accounts.settle(settlement(cost_nano_usd=5))
    assert rows.charges()["call_1.1"]["cost_nano_usd"] == 5


async def test_what_a_process_left_open_when_it_ended_is_swept(start: Start, rows: Rows) -> None:
    leaving, other = await start(), await start()
    await leaving.accounts.open(intent())
    await leaving.leases.leave()
    assert await other.leases.sweep() == 1
    assert rows.charges()["call_1.1"]["state"] == "lost"


async def test_calls_that_miss_their_row_get_one(start: Start, clock: Clock, rows: Rows) -> None:
    dead, survivor = await start(), await start()
    for charge_id in ("call_1.1", "call_1.2", "call_2.1", "call_3.1"):
        await dead.accounts.open(intent(charge_id, opened_at_ms=NOW_MS + int(charge_id[-1])))
    for charge_id in ("call_1.1", "call_2.1", "call_3.1"):
        await dead.accounts.settle(settlement(charge_id))
    dead.accounts.record(record("call_3"))
    await dead.accounts.drain()
    clock.now_ms += 5_000
    await survivor.leases.renew()
    await survivor.leases.sweep()
    calls = rows.calls()
    figures = ("status", "error", "attempts", "received_at_ms", "key_id", "team", "asked_model")
    assert {name: tuple(call[figure] for figure in figures) for name, call in calls.items()} == {
        "call_1": (0, "lost", 2, NOW_MS + 1, "k1", "red", "fast"),  # cut off
        "call_2": (0, "lost", 1, NOW_MS + 1, "k1", "red", "fast"),  # settled, row still queued
        "call_3": (200, None, 1, NOW_MS, "k1", "red", "fast"),
    }


async def test_a_swept_call_that_goes_on_replaces_its_row(
    start: Start, clock: Clock, rows: Rows
) -> None:
    stopped, other = await start(), await start()
    await stopped.accounts.open(intent())
    clock.now_ms += 5_000
    await other.leases.sweep()
    assert rows.calls()["call_1"]["error"] == "lost"
    stopped.accounts.record(record(status=200))
    await stopped.accounts.drain()
    assert (rows.calls()["call_1"]["status"], rows.calls()["call_1"]["error"]) == (200, None)


async def test_a_failed_commit_puts_the_lease_in_doubt(
    start: Start, clock: Clock, rows: Rows
) -> None:
    process = await start()
    process.leases.doubt()
    with pytest.raises(LeaseLost):
        process.leases.owner()
    await process.leases.regain()
    assert rows.all("SELECT id FROM processes") == [{"id": process.leases.owner()}]


async def test_leases_are_renewed_and_others_swept_without_being_asked(
    start: Start, clock: Clock, passing: Passing, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "RENEW_S", 0.01)
    dead, survivor = await start(), await start()
    await dead.accounts.open(intent())
    task = asyncio.create_task(survivor.leases.run())
    rows.execute("BEGIN IMMEDIATE")
    await asyncio.sleep(0.1)  # a failed renewal does not end it
    rows.execute("ROLLBACK")
    clock.now_ms += 5_000
    passing.now_s += 5.0
    await until(lambda: survivor.leases.swept == 1)
    assert survivor.leases.owner()
    task.cancel()


async def test_nobody_is_swept_because_the_clock_was_set_forward(
    start: Start, clock: Clock, passing: Passing
) -> None:
    living, other = await start(), await start()
    await living.accounts.open(intent())
    clock.now_ms += 3_600_000
    for _ in range(10):  # whoever takes the first turn, both have their leases after it
        await other.leases.turn()
        await living.leases.turn()
        clock.now_ms += 1_000
        passing.now_s += 1.0
    assert (living.leases.swept, other.leases.swept) == (0, 0)


async def test_after_a_jump_of_the_clock_the_dead_are_swept_a_moment_later(
    start: Start, clock: Clock, passing: Passing
) -> None:
    dead, survivor = await start(), await start()
    await dead.accounts.open(intent())
    clock.now_ms += 3_600_000
    turns = 0
    while not survivor.leases.swept:
        await survivor.leases.turn()
        turns += 1
    assert turns == leases_module.PATIENCE + 1


async def test_a_process_that_was_held_up_is_no_jump_of_the_clock(
    start: Start, clock: Clock, passing: Passing
) -> None:
    dead, survivor = await start(), await start()
    await dead.accounts.open(intent())
    clock.now_ms += 60_000
    passing.now_s += 60.0
    await survivor.leases.turn()
    assert survivor.leases.swept == 1
