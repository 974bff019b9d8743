"""Is money held, released and spent exactly, and never more than there is?"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.ledger import Granted, Intent, Reservation, Short
from gateway.store.accounts import SqlAccounts
from gateway.store.budgetadmin import BudgetAdmin, BudgetDraft, UnknownBudget
from gateway.store.budgettable import BudgetReader
from gateway.store.leases import Leases
from gateway.store.sqlite import reading
from gateway.store.writer import Writer
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import NOW_MS, Clock, Gate, Rows, intent, settlement


def held(budget_id: str = "b1", limit: int = 10_000, **more: Any) -> Reservation:
    values: dict[str, Any] = {
        "budget_id": budget_id,
        "period_start_ms": 0,
        "nano_usd": 1_000,
        "limit_nano_usd": limit,
        "hard": True,
    }
    return Reservation(**(values | more))


def balance(rows: Rows, budget_id: str = "b1") -> tuple[int, int]:
    """What is spent, and what is reserved."""
    (found,) = rows.all("SELECT * FROM budget_periods WHERE budget_id = ?", budget_id)
    return found["spent_nano_usd"], found["reserved_nano_usd"]


def reservations(rows: Rows) -> list[str]:
    return [row["charge_id"] for row in rows.all("SELECT charge_id FROM charge_reservations")]


async def test_an_intent_holds_its_worst_case(accounts: SqlAccounts, rows: Rows) -> None:
    assert await accounts.open(intent(), [held()]) == Granted((9_000,))
    assert balance(rows) == (0, 1_000)
    assert reservations(rows) == ["call_1.1"]


async def test_a_settlement_puts_the_cost_in_the_place_of_what_was_held(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(), [held()])
    for _ in range(2):  # a repeat changes nothing
        await accounts.settle(settlement(cost_nano_usd=300, budgeted=True))
        assert balance(rows) == (300, 0)
        assert reservations(rows) == []


async def test_a_refusal_writes_nothing(accounts: SqlAccounts, rows: Rows) -> None:
    await accounts.open(intent(), [held(nano_usd=9_500)])
    assert await accounts.open(intent("call_2.1"), [held()]) == Short("b1", 500, 10_000)
    assert balance(rows) == (0, 9_500)
    assert set(rows.charges()) == {"call_1.1"}


async def test_what_fits_exactly_is_granted(accounts: SqlAccounts, rows: Rows) -> None:
    assert await accounts.open(intent(), [held(nano_usd=10_000)]) == Granted((0,))
    assert await accounts.open(intent("call_2.1"), [held(nano_usd=0)]) == Granted((0,))
    assert await accounts.open(intent("call_3.1"), [held(nano_usd=1)]) == Short("b1", 0, 10_000)


async def test_one_refusing_budget_leaves_the_others_as_they_were(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(), [held("b3", nano_usd=9_500)])
    both = [held("b1"), held("b2"), held("b3")]
    assert await accounts.open(intent("call_2.1"), both) == Short("b3", 500, 10_000)
    assert [balance(rows, b)[1] for b in ("b1", "b2", "b3")] == [0, 0, 9_500]
    assert reservations(rows) == ["call_1.1"]


async def test_a_soft_budget_refuses_nothing_and_says_how_far_over_it_is(
    accounts: SqlAccounts, rows: Rows
) -> None:
    wanted = [held(limit=1_500, hard=False)]
    assert await accounts.open(intent(), wanted) == Granted((500,))
    assert await accounts.open(intent("call_2.1"), wanted) == Granted((-500,))


async def test_in_one_batch_each_opening_has_an_answer_of_its_own(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    gate = Gate()
    first = asyncio.ensure_future(writer.submit(gate.operation, None))
    await gate.entered()
    wanted = [held(limit=3_500)]
    openings = [asyncio.create_task(accounts.open(intent(f"call_{n}.1"), wanted)) for n in range(6)]
    plain = asyncio.create_task(accounts.open(intent("call_9.1")))
    await asyncio.sleep(0)
    gate.open()
    answers = await asyncio.gather(*openings)
    await first
    assert [type(answer) for answer in answers] == [Granted] * 3 + [Short] * 3
    assert await plain == Granted()
    assert set(rows.charges()) == {"call_0.1", "call_1.1", "call_2.1", "call_9.1"}


@pytest.mark.parametrize("limit", [10_000, 2_400])
async def test_openings_of_one_batch_are_answered_as_if_they_came_one_by_one(
    accounts: SqlAccounts, writer: Writer, rows: Rows, limit: int
) -> None:
    gate = Gate()
    first = asyncio.ensure_future(writer.submit(gate.operation, None))
    await gate.entered()
    both = [held("b1", limit), held("b2", 1_500, hard=False)]
    batch = [both, [held("b1", limit, nano_usd=400)], both, [held("b3", period_start_ms=5)]]
    openings = [
        asyncio.create_task(accounts.open(intent(f"call_{n}.1"), wanted))
        for n, wanted in enumerate(batch)
    ]
    await asyncio.sleep(0)
    gate.open()
    answers = await asyncio.gather(*openings)
    await first
    assert answers == [
        Granted((limit - 1_000, 500)),
        Granted((limit - 1_400,)),
        Granted((limit - 2_400, -500)),
        Granted((9_000,)),
    ]
    assert [balance(rows, b)[1] for b in ("b1", "b2", "b3")] == [2_400, 2_000, 1_000]


async def test_a_broken_operation_in_the_batch_spoils_no_reservation(
    accounts: SqlAccounts, rows: Rows
) -> None:
    answers = await asyncio.gather(
        accounts.open(intent(bound_nano_usd=2**70), [held()]),  # fits no column
        accounts.open(intent("call_2.1"), [held()]),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Exception)
    assert answers[1] == Granted((9_000,))
    assert balance(rows) == (0, 1_000)


async def test_a_price_of_a_refused_attempt_is_written_with_the_next(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(), [held(limit=0)])
    await accounts.open(intent("call_2.1"), [held()])
    assert len(rows.all("SELECT * FROM prices")) == 1


async def test_peeking_answers_the_same_and_holds_nothing(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(), [held(nano_usd=8_500)])
    before = rows.all("SELECT * FROM budget_periods"), rows.all("SELECT * FROM charges")
    assert await accounts.peek([held()]) == Granted((500,))
    assert await accounts.peek([held(nano_usd=2_000)]) == Short("b1", 1_500, 10_000)
    assert await accounts.peek([held("b7", hard=False, limit=0)]) == Granted((-1_000,))
    assert (rows.all("SELECT * FROM budget_periods"), rows.all("SELECT * FROM charges")) == before


async def test_a_caller_that_left_releases_what_its_intent_held(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    gate = Gate()
    first = asyncio.ensure_future(writer.submit(gate.operation, None))
    opening = asyncio.create_task(accounts.open(intent(), [held()]))
    await gate.entered()
    gate.open()
    await first
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await writer.flush()
    await writer.flush()
    spent_and_reserved = rows.all("SELECT spent_nano_usd, reserved_nano_usd FROM budget_periods")
    assert spent_and_reserved in ([], [{"spent_nano_usd": 0, "reserved_nano_usd": 0}])
    assert reservations(rows) == []


async def test_a_sweep_spends_the_bound_and_the_late_settlement_changes_nothing(
    accounts: SqlAccounts, open_writer: OpenWriter, clock: Clock, rows: Rows
) -> None:
    await accounts.open(intent(), [held("b1"), held("b2")])
    await accounts.open(intent("call_2.1"), [held("b1")])
    clock.now_ms += 60_000
    other = Leases(await open_writer(), 5.0, clock)
    await other.renew()
    assert await other.sweep() == 2
    assert (balance(rows, "b1"), balance(rows, "b2")) == ((2_000, 0), (1_000, 0))
    await accounts.settle(settlement(cost_nano_usd=1, budgeted=True))
    assert balance(rows, "b1") == (2_000, 0)
    assert reservations(rows) == []


# ------------------------------------------------------------------------------- top-ups


async def test_a_top_up_raises_what_is_held_and_the_bound(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(), [held("b1"), held("b2")])
    more = [held("b1", nano_usd=500), held("b2", nano_usd=500)]
    assert await accounts.top_up("call_1.1", 500, more) == Granted((8_500, 8_500))
    assert (balance(rows, "b1"), balance(rows, "b2")) == ((0, 1_500), (0, 1_500))
    assert rows.charges()["call_1.1"]["bound_nano_usd"] == 1_500
    await accounts.settle(settlement(cost_nano_usd=1_200, budgeted=True))
    assert (balance(rows, "b1"), balance(rows, "b2")) == ((1_200, 0), (1_200, 0))
    assert reservations(rows) == []


async def test_a_refused_top_up_changes_nothing(accounts: SqlAccounts, rows: Rows) -> None:
    await accounts.open(intent(), [held("b1"), held("b2", nano_usd=9_800)])
    more = [held("b1", nano_usd=500), held("b2", nano_usd=500)]
    assert await accounts.top_up("call_1.1", 500, more) == Short("b2", 200, 10_000)
    assert (balance(rows, "b1"), balance(rows, "b2")) == ((0, 1_000), (0, 9_800))
    assert rows.charges()["call_1.1"]["bound_nano_usd"] == 1_000
    await accounts.settle(settlement(cost_nano_usd=0, budgeted=True))
    assert (balance(rows, "b1"), balance(rows, "b2")) == ((0, 0), (0, 0))


async def test_a_charge_that_has_ended_is_not_topped_up(accounts: SqlAccounts, rows: Rows) -> None:
    await accounts.open(intent(), [held()])
    await accounts.open(intent("call_2.1"), [held()])
    await accounts.settle(settlement(cost_nano_usd=300, budgeted=True))
    outcomes = await asyncio.gather(
        *(
            accounts.top_up(charge, 500, [held(nano_usd=500)])
            for charge in ("call_1.1", "call_2.1")
        ),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] == Granted((8_200,))
    assert balance(rows) == (300, 1_500)


async def test_of_a_budget_that_a_charge_holds_nothing_of_nothing_is_taken(
    accounts: SqlAccounts, rows: Rows
) -> None:
    await accounts.open(intent(), [held("b1")])
    more = [held("b1", period_start_ms=5), held("b2"), held("b3", limit=0)]
    assert await accounts.top_up("call_1.1", 1_000, more) == Granted()
    assert balance(rows, "b1") == (0, 1_000)
    assert len(rows.all("SELECT * FROM budget_periods")) == 1
    assert rows.charges()["call_1.1"]["bound_nano_usd"] == 2_000


async def test_a_sweep_spends_what_was_topped_up(
    accounts: SqlAccounts, open_writer: OpenWriter, clock: Clock, rows: Rows
) -> None:
    await accounts.open(intent(), [held()])
    await accounts.top_up("call_1.1", 700, [held(nano_usd=700)])
    clock.now_ms += 60_000
    other = Leases(await open_writer(), 5.0, clock)
    await other.renew()
    assert await other.sweep() == 1
    assert balance(rows) == (1_700, 0)
    with pytest.raises(Unavailable):  # its process wakes up
        await accounts.top_up("call_1.1", 700, [held(nano_usd=700)])
    assert balance(rows) == (1_700, 0)


async def test_a_caller_that_left_a_top_up_releases_it_with_its_charge(
    accounts: SqlAccounts, writer: Writer, rows: Rows
) -> None:
    await accounts.open(intent(), [held()])
    gate = Gate()
    first = asyncio.ensure_future(writer.submit(gate.operation, None))
    await gate.entered()
    topping = asyncio.create_task(accounts.top_up("call_1.1", 500, [held(nano_usd=500)]))
    await asyncio.sleep(0)
    settling = asyncio.create_task(accounts.settle(settlement(cost_nano_usd=9, budgeted=True)))
    await asyncio.sleep(0)
    topping.cancel()
    gate.open()
    await asyncio.gather(first, topping, settling, return_exceptions=True)
    await writer.flush()
    assert balance(rows) == (9, 0)


# --------------------------------------------------------------------------- administration


def draft(scope: Any = "team", value: str = "red", **more: Any) -> BudgetDraft:
    values: dict[str, Any] = {
        "scope": scope,
        "scope_value": value,
        "period": "month",
        "zone": "UTC",
        "limit_nano_usd": 50_000,
        "hard": True,
    }
    return BudgetDraft(**(values | more))


@pytest.mark.parametrize(
    ("scope", "value", "spent"),
    [
        ("team", "red", 300),
        ("team", "re", 0),
        ("key", "k1", 300),
        ("model", "fast", 300),
        ("model", "openai/gpt", 300),
        ("model", "gpt", 0),
        ("tag", "b", 300),
        ("tag", "a,b", 0),
    ],
)
async def test_a_new_budget_counts_what_the_ledger_has(
    accounts: SqlAccounts, path: Path, clock: Clock, scope: str, value: str, spent: int
) -> None:
    await accounts.open(intent())
    await accounts.settle(settlement(cost_nano_usd=300))
    await accounts.open(intent("call_2.1"))
    async with reading(path) as db:
        admin = BudgetAdmin(db, clock)
        await admin.set(draft(scope, value))
        (state,) = await admin.list()
    assert (state.spent_nano_usd, state.reserved_nano_usd) == (spent, 1_000 if spent else 0)


async def test_what_was_under_way_when_the_budget_came_is_spent_when_it_ends(
    accounts: SqlAccounts, leases: Leases, path: Path, clock: Clock, rows: Rows
) -> None:
    await accounts.open(intent())
    async with reading(path) as db:
        made = await BudgetAdmin(db, clock).set(draft())
    await accounts.settle(settlement(cost_nano_usd=300))  # its process knew of no budget
    await leases.sweep()
    assert balance(rows, made.id) == (300, 0)
    assert reservations(rows) == []


async def test_what_is_counted_again_is_the_budget_as_it_is_by_then(
    accounts: SqlAccounts, path: Path, clock: Clock, rows: Rows
) -> None:
    await accounts.open(intent())
    await accounts.settle(settlement(cost_nano_usd=300))
    async with reading(path) as db:
        admin = BudgetAdmin(db, clock)
        first = await admin.set(draft())
        await admin.set(draft(zone="Asia/Tokyo"))  # by somebody else: another period begins
        await admin.recount(first)
        (state,) = await admin.list()
        assert state.spent_nano_usd == 300
        await admin.remove_one(first.id)
        with pytest.raises(UnknownBudget):
            await admin.recount(first)
    assert rows.all("SELECT * FROM budget_periods") == []


async def test_setting_a_budget_again_changes_it_and_keeps_its_id(path: Path, clock: Clock) -> None:
    async with reading(path) as db:
        admin = BudgetAdmin(db, clock)
        first = await admin.set(draft())
        again = await admin.set(draft(limit_nano_usd=7, hard=False, zone="Europe/Zurich"))
        await admin.set(draft(period="day"))
        assert again.id == first.id
        assert (again.limit_nano_usd, again.hard, again.zone) == (7, False, "Europe/Zurich")
        assert len(await admin.list()) == 2


async def test_a_removed_budget_leaves_nothing(
    accounts: SqlAccounts, path: Path, clock: Clock, rows: Rows
) -> None:
    async with reading(path) as db:
        admin = BudgetAdmin(db, clock)
        await admin.set(draft())
        await admin.set(draft(period="day"))
        assert await admin.remove("team", "red", "day") == 1
        assert await admin.remove("team", "red", None) == 1
        with pytest.raises(UnknownBudget):
            await admin.remove("team", "red", None)
    assert rows.all("SELECT * FROM budget_periods") == []


async def test_a_keys_budget_holds_for_its_successors(path: Path, rows: Rows, clock: Clock) -> None:
    for key, before in (("k1", None), ("k2", "k1"), ("k3", "k2")):
        rows.execute(
            "INSERT INTO keys (id, name, models, tags, credentials, digest, prefix, "
            "created_at_ms, rotated_from) VALUES (?, 'n', '[]', '[]', '{}', ?, '', 0, ?)",
            (key, key, before),
        )
    reader = BudgetReader()
    async with reading(path) as db:
        made = await BudgetAdmin(db, clock).set(draft("key", "k2"))
        await reader.read(db)
    found = {k: reader.budgets.of(intent(key_id=k)) for k in ("k1", "k2", "k3", "k4")}
    assert found == {"k1": [], "k2": [made], "k3": [made], "k4": []}


# ------------------------------------------------------------------------- all together


async def test_spent_and_reserved_never_exceed_the_limit_whatever_ends_how(
    accounts: SqlAccounts, path: Path, clock: Clock, rows: Rows
) -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    async with reading(path) as db:
        made = await BudgetAdmin(db, clock).set(draft(limit_nano_usd=20_000))
    wanted = [held(made.id, 20_000, period_start_ms=period_start(rows))]
    finished: list[Intent] = []

    topped: list[str] = []

    async def top_ups(charge: str) -> int:
        """A stream's: one after the other, and some that it does not wait for."""
        more = [held(made.id, 20_000, nano_usd=500, period_start_ms=wanted[0].period_start_ms)]
        raised = 0
        while dice.random() < 0.5:
            asking = asyncio.create_task(accounts.top_up(charge, 500, more))
            if dice.random() < 0.2:
                await asyncio.sleep(dice.choice((0, 0, 0.001)))
                asking.cancel()
            answer = (await asyncio.gather(asking, return_exceptions=True))[0]
            if not isinstance(answer, Granted):
                break
            raised += 500
            topped.append(charge)
        return raised

    async def one(number: int) -> None:
        asked = intent(f"call_{number}.1")
        opening = asyncio.create_task(accounts.open(asked, wanted))
        if dice.random() < 0.2:
            await asyncio.sleep(dice.choice((0, 0, 0.001)))
            opening.cancel()
        answer = (await asyncio.gather(opening, return_exceptions=True))[0]
        if isinstance(answer, Granted):
            await asyncio.sleep(dice.choice((0, 0.001)))
            most = 1_000 + await top_ups(asked.charge_id)
            cost = dice.randrange(most + 1)
            await accounts.settle(settlement(asked.charge_id, cost_nano_usd=cost, budgeted=True))
            finished.append(asked)
        spent, reserved = balance(rows, made.id)
        assert spent + reserved <= 20_000

    for start in range(0, 200, 20):
        await asyncio.gather(*(one(number) for number in range(start, start + 20)))
    await accounts.drain()
    charges = rows.charges().values()
    assert balance(rows, made.id) == (sum(c["cost_nano_usd"] for c in charges), 0)
    assert 20 <= len(finished) < 200
    assert len(topped) >= 10
    assert all(charge["cost_nano_usd"] <= charge["bound_nano_usd"] for charge in charges)
    assert reservations(rows) == []


def period_start(rows: Rows) -> int:
    (row,) = rows.all("SELECT period_start_ms FROM budget_periods")
    assert row["period_start_ms"] <= NOW_MS
    return int(row["period_start_ms"])
