"""Do sums and rows together say at any time what the rows alone would?"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.periods import zone
from gateway.store.accounts import SqlAccounts
from gateway.store.leases import LeaseLost, Leases
from gateway.store.reports import Filter
from gateway.store.rollup import roll
from gateway.store.rollup.families import DAY_MS, QUARTER_MS, USAGE
from gateway.store.rollup.roll import Rollup
from gateway.store.rollup.sums import Question, ask, snapshot
from gateway.store.sqlite import reading
from gateway.store.writer import Writer
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import NOW_MS, Clock, Rows, intent, record, settlement
from tests.gateway.store.rollup.ledgers import Ask, RandomLedger, differing, moments, said

LATER_MS = NOW_MS + 10 * DAY_MS
INDIA, CHATHAM = zone("Asia/Kolkata"), zone("Pacific/Chatham")
SOME = Filter(since_ms=NOW_MS + QUARTER_MS // 3, until_ms=NOW_MS + 4 * DAY_MS + 77)
DAYS = Filter(since_ms=NOW_MS - NOW_MS % DAY_MS, until_ms=NOW_MS - NOW_MS % DAY_MS + 3 * DAY_MS)

QUESTIONS: dict[str, Ask] = {
    "usage": lambda r: r.usage(),
    "usage, cut": lambda r: r.usage(["key"], SOME),
    "usage, days": lambda r: r.usage(["team", "model"], DAYS),
    "usage, target": lambda r: r.usage(["target"], SOME),
    "usage, provider": lambda r: r.usage(["provider", "key"]),
    "usage of a provider": lambda r: r.usage(["model"], Filter(provider="openai")),
    "usage of a target": lambda r: r.usage([], Filter(target="groq/llama")),
    "usage of a contradiction": lambda r: r.usage(
        [], Filter(provider="openai", target="groq/llama")
    ),
    "usage by tag": lambda r: r.usage(["tag"], SOME),
    "usage by tag and key": lambda r: r.usage(["key", "tag"], SOME),
    "usage of a tag": lambda r: r.usage(["model"], Filter(tag='odd "_% tag')),
    "usage by day": lambda r: r.usage(["day"], DAYS),
    "usage by day in India": lambda r: r.usage(["day", "team"], SOME, INDIA),
    "usage by hour": lambda r: r.usage(["hour"], SOME, CHATHAM),
    "usage with an error": lambda r: r.usage(["key"], Filter(error="timeout")),
    "overview": lambda r: r.overview(),
    "overview, cut": lambda r: r.overview(SOME),
    "overview of a team": lambda r: r.overview(Filter(team="red", since_ms=NOW_MS + 1)),
    "overview of a target": lambda r: r.overview(Filter(target="openai/gpt")),
    "overview with a status": lambda r: r.overview(Filter(status=504, key="k1")),
    "errors": lambda r: r.errors(SOME),
    "errors of a key": lambda r: r.errors(Filter(key="k2")),
    "targets": lambda r: r.targets(SOME),
    "savings": lambda r: r.savings("key", SOME),
    "cost by day": lambda r: r.series("cost_nano_usd", "model", DAYS),
    "cost by day in India": lambda r: r.series("cost_nano_usd", "key", SOME, INDIA, top=2),
    "tokens by target": lambda r: r.series("tokens", "target", SOME, top=1),
    "calls by hour": lambda r: r.series("calls", "team", SOME, CHATHAM, "hour"),
    "latencies": lambda r: r.latencies(SOME, INDIA),
}


@pytest.fixture
def rollup(writer: Writer, path: Path, leases: Leases, clock: Clock) -> Rollup:
    return Rollup(writer, path, leases.owner, clock)


async def later(clock: Clock, leases: Leases, now_ms: int = LATER_MS) -> None:
    clock.now_ms = now_ms
    await leases.renew()


@pytest.mark.parametrize("seed", range(3))
async def test_sums_and_rows_say_what_the_rows_say(
    path: Path, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock, seed: int
) -> None:
    ledger = RandomLedger(accounts, seed)
    for at_ms in moments(40, seed):
        await ledger.call(at_ms)
    await accounts.drain()
    assert await differing(path, QUESTIONS) == []
    await later(clock, leases, NOW_MS + 2 * DAY_MS)
    await rollup.step()
    assert await differing(path, QUESTIONS) == []  # half-way
    await rollup.catch_up()
    assert await differing(path, QUESTIONS) == []
    await later(clock, leases)
    await rollup.catch_up()
    for at_ms in moments(6, seed + 100):  # into what is summed up
        await ledger.call(at_ms)
        await ledger.settle_one()
    await accounts.drain()
    assert await differing(path, QUESTIONS) == []
    await rollup.catch_up()
    assert await differing(path, QUESTIONS) == []
    while ledger.open:
        await ledger.settle_one()
    await rollup.catch_up()
    assert await differing(path, QUESTIONS) == []


async def test_what_is_settled_late_counts_once(
    rows: Rows, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock, path: Path
) -> None:
    await accounts.open(intent("call_1.1"))
    await later(clock, leases)
    await rollup.catch_up()
    assert rows.all("SELECT start_ms, summed FROM rollup_marks") == [
        {"start_ms": NOW_MS - NOW_MS % QUARTER_MS, "summed": 0}
    ]
    (usage,) = await said(path, lambda r: r.usage())
    assert (usage.open, usage.cost_nano_usd) == (1, 0)
    await accounts.settle(settlement("call_1.1", cost_nano_usd=70))
    (usage,) = await said(path, lambda r: r.usage())
    assert (usage.open, usage.cost_nano_usd) == (0, 70)
    await rollup.catch_up()
    assert rows.all("SELECT * FROM rollup_marks") == []
    assert rows.all("SELECT COUNT(*) AS n FROM usage_quarters")[0]["n"] > 0
    (usage,) = await said(path, lambda r: r.usage())
    assert (usage.open, usage.cost_nano_usd) == (0, 70)


async def test_a_row_that_comes_while_its_quarter_hour_is_read_is_not_forgotten(
    path: Path,
    accounts: SqlAccounts,
    leases: Leases,
    rollup: Rollup,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accounts.record(record("call_1"))
    await accounts.drain()
    await later(clock, leases)
    read = roll.read_cells

    async def read_and_be_late(*arguments: object) -> object:
        cells = await read(*arguments)  # type: ignore[arg-type]
        accounts.record(record("call_2"))
        await accounts.drain()
        return cells

    monkeypatch.setattr(roll, "read_cells", read_and_be_late)
    assert await rollup.step() > 0
    monkeypatch.undo()
    assert (await said(path, lambda r: r.overview())).calls == 2
    await rollup.catch_up()
    assert (await said(path, lambda r: r.overview())).calls == 2


async def test_a_row_that_comes_after_another_process_was_first_is_not_forgotten(
    path: Path,
    accounts: SqlAccounts,
    leases: Leases,
    rollup: Rollup,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accounts.record(record("call_1"))
    await accounts.drain()
    await later(clock, leases)
    await rollup.catch_up()
    accounts.record(record("call_2"))
    await accounts.drain()
    read = roll.read_cells

    async def read_and_be_overtaken(*arguments: object) -> object:
        cells = await read(*arguments)  # type: ignore[arg-type]
        monkeypatch.undo()
        await rollup.catch_up()
        accounts.record(record("call_3"))
        await accounts.drain()
        return cells

    monkeypatch.setattr(roll, "read_cells", read_and_be_overtaken)
    assert await rollup.step() > 0
    assert (await said(path, lambda r: r.overview())).calls == 3
    await rollup.catch_up()
    assert (await said(path, lambda r: r.overview())).calls == 3


async def test_one_process_sums_up_at_a_time_and_the_next_one_goes_on(
    path: Path,
    open_writer: OpenWriter,
    accounts: SqlAccounts,
    leases: Leases,
    rollup: Rollup,
    clock: Clock,
) -> None:
    ledger = RandomLedger(accounts, 7)
    for at_ms in moments(30, 7):
        await ledger.call(at_ms)
    await accounts.drain()
    await later(clock, leases)
    other_writer = await open_writer()
    other_leases = Leases(other_writer, 5.0, clock)
    await other_leases.renew()
    other = Rollup(other_writer, path, other_leases.owner, clock)
    assert await rollup.step() > 0
    assert await other.step() == 0  # the first one is alive
    clock.now_ms += 6_000  # and now it is not
    await other_leases.renew()
    await other_leases.sweep()  # its open charges are lost: quarter hours of which some were read
    assert await differing(path, QUESTIONS) == []
    await other.catch_up()
    assert await differing(path, QUESTIONS) == []
    with pytest.raises(LeaseLost):
        await rollup.step()


async def test_a_call_that_replaces_its_swept_row_counts_once(
    path: Path, rows: Rows, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> None:
    """A process that was stopped wakes up: the row moves to the quarter hour before."""
    turn = NOW_MS - NOW_MS % QUARTER_MS + QUARTER_MS
    await accounts.open(intent("call_1.1", opened_at_ms=turn + 5))
    await leases.leave()
    await leases.sweep()
    assert rows.calls()["call_1"]["received_at_ms"] == turn + 5
    await later(clock, leases)
    await rollup.catch_up()
    accounts.record(record("call_1", received_at_ms=turn - 5, duration_ms=100_000))
    await accounts.drain()
    for _ in range(2):
        overview = await said(path, lambda r: r.overview())
        assert (overview.calls, overview.errors) == (1, 0)
        await rollup.catch_up()


async def test_nothing_is_marked_by_rows_of_now(
    rows: Rows, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> None:
    accounts.record(record("call_1"))
    await accounts.drain()
    await rollup.catch_up()
    assert rows.all("SELECT * FROM rollup_marks") == []
    assert rows.all("SELECT until_ms FROM rollup_state")[0]["until_ms"] <= NOW_MS


async def test_a_charge_that_comes_late_counts_before_its_call_does(
    path: Path, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> None:
    accounts.record(record("call_1"))
    await accounts.drain()
    await later(clock, leases)
    await rollup.catch_up()
    await accounts.open(intent("call_2.1"))
    await accounts.settle(settlement("call_2.1", cost_nano_usd=4))
    for _ in range(2):
        (usage,) = await said(path, lambda r: r.usage())
        assert (usage.calls, usage.cost_nano_usd) == (1, 4)
        await rollup.catch_up()


async def test_a_lost_call_counts_where_its_first_attempt_began(
    path: Path, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> None:
    await accounts.open(intent("call_1.1"))
    await accounts.settle(settlement("call_1.1"))
    await accounts.open(intent("call_1.2", opened_at_ms=NOW_MS + QUARTER_MS))
    await later(clock, leases)
    await rollup.catch_up()  # the first quarter hour; the second has an open charge
    await leases.leave()
    await leases.sweep()
    await leases.renew()
    for _ in range(2):
        found = await said(path, lambda r: r.errors())
        assert [(row.error, row.calls) for row in found] == [("lost", 1)]
        await rollup.catch_up()


async def test_a_row_with_two_of_the_tags_counts_once(
    path: Path, accounts: SqlAccounts, leases: Leases, rollup: Rollup, clock: Clock
) -> None:
    await accounts.open(intent("call_1.1", tags=("a", "b")))
    await accounts.settle(settlement("call_1.1"))
    await later(clock, leases)
    await rollup.catch_up()
    either = {"tag": ("a", "b", "c")}
    async with reading(path) as db, snapshot(db):
        question = Question(family=USAGE, measures=("attempts",), where=either)
        assert await ask(db, question) == {(): {"attempts": 1}}
        by_tag = Question(family=USAGE, measures=("attempts",), by=("tag",), where=either)
        assert await ask(db, by_tag) == {("a",): {"attempts": 1}, ("b",): {"attempts": 1}}
