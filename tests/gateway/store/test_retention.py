"""Do old rows go, some at a time, and do reports stay as they were?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.budgets import ScopeKind
from gateway.periods import PeriodName
from gateway.store.accounts import SqlAccounts
from gateway.store.budgetadmin import BudgetAdmin, BudgetDraft
from gateway.store.leases import Leases
from gateway.store.reports import Filter
from gateway.store.retention import Pruned, prunable, prune
from gateway.store.rollup.families import DAY_MS, QUARTER_MS
from gateway.store.rollup.roll import Rollup
from gateway.store.sqlite import reading
from gateway.store.writer import Writer
from tests.gateway.store.entries import NOW_MS, Clock, Rows, intent, record, settlement
from tests.gateway.store.rollup.ledgers import Ask, RandomLedger, moments, said

LATER_MS = NOW_MS + 10 * DAY_MS
CUT_MS = NOW_MS + 2 * DAY_MS
WHOLE: dict[str, Ask] = {
    "usage": lambda r: r.usage(["day", "key", "model"]),
    "tags": lambda r: r.usage(["tag"]),
    "overview": lambda r: r.overview(),
    "before": lambda r: r.overview(Filter(until_ms=CUT_MS)),
    "errors": lambda r: r.errors(),
    "latencies": lambda r: r.latencies(),
}


@pytest.fixture
def rollup(writer: Writer, path: Path, leases: Leases, clock: Clock) -> Rollup:
    return Rollup(writer, path, leases.owner, clock)


@pytest.fixture
async def ledger(
    accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> RandomLedger:
    """Calls of five days, all settled, summed up."""
    ledger = RandomLedger(accounts, 3)
    for at_ms in moments(60, 3):
        await ledger.call(at_ms)
    while ledger.open:
        await ledger.settle_one()
    await accounts.drain()
    clock.now_ms = LATER_MS
    await leases.renew()
    await rollup.catch_up()
    return ledger


async def all_pruned(path: Path, before_ms: int, batch: int = 1_000) -> list[Pruned]:
    async with reading(path) as db:
        return [done async for done in prune(db, before_ms, LATER_MS, batch)]


async def test_reports_stay_what_they_were_at_each_step(
    path: Path, rows: Rows, ledger: RandomLedger
) -> None:
    before = {name: await said(path, ask) for name, ask in WHOLE.items()}
    async with reading(path) as db:
        expected = await prunable(db, CUT_MS, LATER_MS)
        assert expected.before_ms == CUT_MS - CUT_MS % QUARTER_MS
        assert expected.calls > 8
        steps: list[Pruned] = []
        async for done in prune(db, CUT_MS, LATER_MS, batch=4):
            steps.append(done)
            for name, ask in WHOLE.items():
                assert await said(path, ask) == before[name]
        assert len(steps) > 1
        assert steps[-1] == Pruned(calls=expected.calls, charges=expected.charges)
    assert min(row["received_at_ms"] for row in rows.calls().values()) >= expected.before_ms
    assert min(row["opened_at_ms"] for row in rows.charges().values()) >= expected.before_ms
    (cut,) = await said(path, lambda r: r.usage([], Filter(until_ms=CUT_MS)))
    (later,) = await said(path, lambda r: r.usage([], Filter(since_ms=CUT_MS)))
    (whole,) = before["usage"][:1] and await said(path, lambda r: r.usage())
    # A quarter hour that the period cuts counts whole where its rows are gone.
    assert cut.attempts + later.attempts >= whole.attempts
    assert await all_pruned(path, CUT_MS) == []


async def test_an_open_charge_and_all_after_it_stay(
    path: Path, rows: Rows, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> None:
    await accounts.open(intent("call_1.1", opened_at_ms=NOW_MS - DAY_MS))
    await accounts.settle(settlement("call_1.1"))
    await accounts.open(intent("call_2.1"))
    await accounts.open(intent("call_3.1", opened_at_ms=NOW_MS + DAY_MS))
    await accounts.settle(settlement("call_3.1"))
    clock.now_ms = LATER_MS
    await leases.renew()
    await rollup.catch_up()
    async with reading(path) as db:
        found = await prunable(db, NOW_MS + 5 * DAY_MS, LATER_MS)
    assert found.before_ms == NOW_MS - NOW_MS % QUARTER_MS
    await all_pruned(path, NOW_MS + 5 * DAY_MS)
    assert sorted(rows.charges()) == ["call_2.1", "call_3.1"]
    await accounts.settle(settlement("call_2.1", cost_nano_usd=9))
    await rollup.catch_up()
    await all_pruned(path, NOW_MS + 5 * DAY_MS)
    assert rows.charges() == {}
    (usage,) = await said(path, lambda r: r.usage())
    assert (usage.attempts, usage.cost_nano_usd) == (3, 609)


async def test_nothing_goes_that_is_not_summed_up(
    path: Path, rows: Rows, accounts: SqlAccounts
) -> None:
    accounts.record(record("call_1"))
    await accounts.drain()
    assert await all_pruned(path, CUT_MS) == []
    assert set(rows.calls()) == {"call_1"}


async def test_what_is_young_is_kept(path: Path) -> None:
    async with reading(path) as db:
        with pytest.raises(ValueError, match="younger"):
            await prunable(db, LATER_MS - DAY_MS + 1, LATER_MS)


async def test_keys_stay_known_to_have_been_used(
    path: Path, rows: Rows, ledger: RandomLedger
) -> None:
    rows.execute(
        "INSERT INTO keys (id, name, models, tags, credentials, digest, prefix, created_at_ms) "
        "VALUES ('k1', 'n', '[]', '[]', '{}', 'd', 'p', 0), ('k9', 'n', '[]', '[]', '{}', 'e', "
        "'p', 0)"
    )
    used = await said(path, lambda r: r.last_used())
    last = max(r["received_at_ms"] for r in rows.calls().values() if r["key_id"] == "k1")
    assert used == {"k1": last}
    await all_pruned(path, LATER_MS - DAY_MS)
    assert rows.calls() == {}
    assert await said(path, lambda r: r.last_used()) == {"k1": last - last % QUARTER_MS}


async def test_budgets_keep_what_was_spent(path: Path, rows: Rows, ledger: RandomLedger) -> None:
    rows.execute("INSERT INTO budget_periods VALUES ('b', 0, 5, 7)")
    await all_pruned(path, CUT_MS)
    assert rows.all("SELECT * FROM budget_periods") == [
        {"budget_id": "b", "period_start_ms": 0, "spent_nano_usd": 5, "reserved_nano_usd": 7}
    ]


@pytest.mark.parametrize("period", ["total", "month"])
@pytest.mark.parametrize(
    ("scope", "value"),
    [("key", "k1"), ("team", "red"), ("model", "fast"), ("model", "openai/gpt"), ("tag", "a")],
)
async def test_a_budget_that_is_changed_still_counts_what_is_pruned(
    path: Path, ledger: RandomLedger, scope: ScopeKind, value: str, period: PeriodName
) -> None:
    draft = BudgetDraft(
        scope=scope, scope_value=value, period=period, zone="UTC", limit_nano_usd=1, hard=True
    )
    async with reading(path) as db:
        admin = BudgetAdmin(db, lambda: LATER_MS)
        before = await admin.show((await admin.set(draft)).id)
        assert before.spent_nano_usd > 0
        await all_pruned(path, CUT_MS)
        changed = await admin.set(replace(draft, limit_nano_usd=2))
        assert (await admin.show(changed.id)).spent_nano_usd == before.spent_nano_usd
