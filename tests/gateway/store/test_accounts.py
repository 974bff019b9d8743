from __future__ import annotations

import asyncio
import sqlite3

import pytest

from gateway.errors import Unavailable
from gateway.store import accounts as accounts_module
from gateway.store.accounts import SqlAccounts
from gateway.store.leases import Leases
from gateway.store.writer import Operation, OperationRefused, Writer
from gateway.usage import Usage
from tests.builders import price
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import (
    NOW_MS,
    PRICE,
    Clock,
    Gate,
    Rows,
    intent,
    record,
    settlement,
    until,
)


async def test_an_intent_is_committed_when_open_returns(
    accounts: SqlAccounts, leases: Leases, rows: Rows
) -> None:
    await accounts.open(intent())
    charge = rows.charge()
    assert charge is not None
    written = {name: value for name, value in charge.items() if value is not None}
    assert written == {
        "charge_id": "call_1.1",
        "call_id": "call_1",
        "attempt": 1,
        "key_id": "k1",
        "team": "red",
        "tags": '["a","b"]',
        "asked_model": "fast",
        "provider": "openai",
        "model": "gpt",
        "credential": "default",
        "price_digest": PRICE.digest,
        "bound_nano_usd": 1_000,
        "opened_at_ms": NOW_MS,
        "owner": leases.owner(),
        "state": "open",
        "unpriced": 0,
    }


async def test_a_settlement_is_committed_when_settle_returns(
    accounts: SqlAccounts, rows: Rows
) -> None:
    usage = Usage(**dict(zip(accounts_counts(), range(1, 11), strict=True)), source="partial")
    await accounts.open(intent())
    await accounts.settle(settlement(usage=usage, error="timeout"))
    charge = rows.charge()
    assert charge is not None
    assert [charge[name] for name in accounts_counts()] == list(range(1, 11))
    settled = {name: charge[name] for name in ("state", "cost_nano_usd", "error", "source")}
    assert settled == {
        "state": "settled",
        "cost_nano_usd": 300,
        "error": "timeout",
        "source": "partial",
    }
    times = (charge["settled_at_ms"], charge["first_event_ms"], charge["duration_ms"])
    assert times == (NOW_MS + 900, 100, 900)


def accounts_counts() -> list[str]:
    return [name for name in Usage.__slots__ if name.endswith("_tokens")]


async def test_a_charge_is_settled_once(accounts: SqlAccounts, rows: Rows) -> None:
    await accounts.open(intent())
    await accounts.settle(settlement(cost_nano_usd=1))
    await accounts.settle(settlement(cost_nano_usd=2))
    await asyncio.gather(*(accounts.settle(settlement(cost_nano_usd=3)) for _ in range(5)))
    assert rows.all("SELECT charge_id, cost_nano_usd FROM charges") == [
        {"charge_id": "call_1.1", "cost_nano_usd": 1}
    ]


async def test_charges_of_one_batch_keep_their_own_figures(
    accounts: SqlAccounts, rows: Rows
) -> None:
    ids = [f"call_{number}.1" for number in range(85)]
    await asyncio.gather(*(accounts.open(intent(charge_id)) for charge_id in ids))
    await asyncio.gather(
        *(
            accounts.settle(settlement(charge_id, cost_nano_usd=number, error=f"e{number}"))
            for number, charge_id in enumerate(ids)
        )
    )
    charges = rows.charges()
    assert [(charges[name]["cost_nano_usd"], charges[name]["error"]) for name in ids] == [
        (number, f"e{number}") for number in range(85)
    ]


async def test_a_price_is_stored_when_it_is_first_used(accounts: SqlAccounts, rows: Rows) -> None:
    other = price(3e-6)
    await asyncio.gather(*(accounts.open(intent(f"call_{number}.1")) for number in range(3)))
    await accounts.open(intent("call_3.1", opened_at_ms=NOW_MS + 5))
    await accounts.open(intent("call_4.1", price=other, opened_at_ms=NOW_MS + 6))
    stored = {row["digest"]: row for row in rows.all("SELECT * FROM prices")}
    assert {digest: row["first_used_ms"] for digest, row in stored.items()} == {
        PRICE.digest: NOW_MS,
        other.digest: NOW_MS + 6,
    }
    assert stored[other.digest]["document"] == other.document()


async def test_a_price_whose_first_charge_failed_is_stored_with_the_next(
    accounts: SqlAccounts, leases: Leases, rows: Rows
) -> None:
    rows.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await accounts.open(intent())
    rows.execute("ROLLBACK")
    await accounts.open(intent("call_2.1"))
    assert [row["digest"] for row in rows.all("SELECT digest FROM prices")] == [PRICE.digest]


async def test_an_unknown_price_is_unpriced_and_never_zero(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(price=None, bound_nano_usd=None))
    await accounts.settle(settlement(cost_nano_usd=None))
    charge = rows.charge()
    assert charge is not None
    figures = [charge[name] for name in ("cost_nano_usd", "price_digest", "unpriced", "state")]
    assert figures == [None, None, 1, "settled"]


async def test_a_locked_ledger_is_unavailable(accounts: SqlAccounts, rows: Rows) -> None:
    rows.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="ledger cannot be written"):
        await accounts.open(intent())
    rows.execute("ROLLBACK")
    await accounts.open(intent("call_2.1"))
    assert set(rows.charges()) == {"call_2.1"}


async def test_a_caller_cancelled_before_the_write_leaves_no_charge(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    gate = Gate()
    held = writer.submit(gate.operation, None)
    await gate.entered()
    await _cancelled(asyncio.create_task(accounts.open(intent())))
    gate.open()
    await held
    await writer.flush()
    assert rows.charges() == {}


async def test_a_caller_cancelled_during_the_write_leaves_a_charge_of_zero(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    gate = Gate()
    opening = asyncio.create_task(accounts.open(intent()))
    await asyncio.sleep(0)
    held = writer.submit(gate.operation, None)
    await gate.entered()  # the charge is written and about to be committed
    await _cancelled(opening)
    gate.open()
    await held
    await accounts.drain()
    _is_settled_at_zero(rows)


async def test_a_caller_cancelled_after_the_commit_leaves_a_charge_of_zero(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    opening = asyncio.create_task(accounts.open(intent()))
    await asyncio.sleep(0)
    # Reported right after the charge: its future has its result, its task has not run yet.
    writer.post(Operation(run=_refuse, on_failure=lambda *_: opening.cancel()), None)
    with pytest.raises(asyncio.CancelledError):
        await opening
    await accounts.drain()
    _is_settled_at_zero(rows)


async def test_an_intent_that_is_committed_too_late_is_settled_at_zero(
    open_writer: OpenWriter, clock: Clock, rows: Rows
) -> None:
    writer = await open_writer(timeout_s=0.1)
    leases = Leases(writer, 5.0, clock)
    await leases.renew()
    accounts, gate = SqlAccounts(writer, leases, clock), Gate()
    opening = asyncio.create_task(accounts.open(intent()))
    await asyncio.sleep(0)
    held = writer.submit(gate.operation, None)
    await gate.entered()
    with pytest.raises(Unavailable):
        await opening
    assert isinstance(held.exception(), TimeoutError)
    gate.open()
    await accounts.drain()
    _is_settled_at_zero(rows)


async def test_a_settlement_that_fails_is_tried_again_until_it_is_written(
    accounts: SqlAccounts, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "RETRY_S", 0.01)
    await accounts.open(intent())
    rows.execute("BEGIN IMMEDIATE")
    await accounts.settle(settlement(cost_nano_usd=7))  # returns: the client keeps its answer
    assert accounts.unsettled == 1
    await asyncio.sleep(0.15)  # fails again meanwhile
    rows.execute("ROLLBACK")
    await until(lambda: rows.charges()["call_1.1"]["cost_nano_usd"] == 7)
    assert (accounts.unsettled, accounts.abandoned) == (0, 0)


async def test_too_many_unsettled_charges_are_given_up_and_counted(
    accounts: SqlAccounts, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "MAX_UNSETTLED", 2)
    rows.execute("BEGIN IMMEDIATE")
    await asyncio.gather(*(accounts.settle(settlement(f"call_{n}.1")) for n in range(5)))
    rows.execute("ROLLBACK")
    assert (accounts.unsettled, accounts.abandoned) == (2, 3)


async def test_a_settlement_that_can_never_be_written_is_not_tried_again(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent())
    await accounts.settle(settlement(usage=Usage(prompt_tokens=2**70)))
    assert (accounts.unsettled, accounts.abandoned) == (0, 1)
    assert rows.charges()["call_1.1"]["state"] == "open"


async def test_a_cancelled_caller_does_not_take_its_settlement_along(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    await accounts.open(intent())
    gate = Gate()
    held = writer.submit(gate.operation, None)
    await gate.entered()
    await _cancelled(asyncio.create_task(accounts.settle(settlement(cost_nano_usd=9))))
    gate.open()
    await held
    await writer.flush()
    assert rows.charges()["call_1.1"]["cost_nano_usd"] == 9


async def test_settle_returns_at_its_time_limit_and_the_charge_is_settled_later(
    open_writer: OpenWriter, clock: Clock, rows: Rows
) -> None:
    writer = await open_writer(timeout_s=0.1)
    leases = Leases(writer, 5.0, clock)
    await leases.renew()
    accounts, gate = SqlAccounts(writer, leases, clock), Gate()
    await accounts.open(intent())
    held = writer.submit(gate.operation, None)
    await gate.entered()
    await accounts.settle(settlement(cost_nano_usd=9))
    assert rows.charges()["call_1.1"]["state"] == "open"
    gate.open()
    await writer.flush()
    assert rows.charges()["call_1.1"]["cost_nano_usd"] == 9
    assert isinstance(held.exception(), TimeoutError)


async def test_a_call_is_recorded_without_waiting(accounts: SqlAccounts, rows: Rows) -> None:
    accounts.record(record(overhead_ms=0.75, error="timeout", status=504))
    assert rows.calls() == {}
    await accounts.drain()
    call = rows.calls()["call_1"]
    facts = [call[name] for name in ("stream", "status", "error", "overhead_us", "tags")]
    assert facts == [1, 504, "timeout", 750, '["a","b"]']


async def test_a_call_that_could_not_be_recorded_is_queued_again(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    rows.execute("BEGIN IMMEDIATE")
    accounts.record(record())
    with pytest.raises(sqlite3.OperationalError):
        await writer.flush()
    rows.execute("ROLLBACK")
    await accounts.drain()
    assert set(rows.calls()) == {"call_1"}


async def test_a_process_that_was_stopped_past_its_lease_renews_it_before_it_opens(
    accounts: SqlAccounts, leases: Leases, clock: Clock, rows: Rows
) -> None:
    before = leases.owner()
    clock.now_ms += 60_000
    await asyncio.gather(*(accounts.open(intent(f"call_{number}.1")) for number in range(5)))
    assert {charge["owner"] for charge in rows.charges().values()} == {before}
    assert rows.all("SELECT lease_until_ms FROM processes") == [{"lease_until_ms": NOW_MS + 65_000}]


def _refuse(*_: object) -> None:
    raise OperationRefused


async def _cancelled(task: asyncio.Task[None]) -> None:
    await asyncio.sleep(0)  # it has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _is_settled_at_zero(rows: Rows) -> None:
    charge = rows.charges()["call_1.1"]
    settled = [charge[name] for name in ("state", "cost_nano_usd", "error", "unpriced")]
    assert settled == ["settled", 0, "unclaimed", 0]
