from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.accounts import SqlAccounts
from gateway.store.leases import Leases
from gateway.store.reports import Filter, Reports, UsageRow
from gateway.store.sqlite import reading
from gateway.usage import Usage
from tests.gateway.store.entries import NOW_MS, PRICE, Clock, intent, record, settlement

DAY_MS = 86_400_000
TODAY, TOMORROW = "2023-11-14", "2023-11-15"


@pytest.fixture
async def reports(path: Path) -> AsyncIterator[Reports]:
    async with reading(path) as db:
        yield Reports(db)


@pytest.fixture
async def ledger(accounts: SqlAccounts) -> SqlAccounts:
    """Six attempts of five calls: two fell back, one is open, one unpriced, one estimated."""
    charges = [
        (intent("call_1.1"), settlement("call_1.1", usage=None, cost_nano_usd=0, error="timeout")),
        (intent("call_1.2", provider="azure"), settlement("call_1.2", cost_nano_usd=10)),
        (
            intent("call_2.1", key_id="k2", team=None, asked_model="slow", model="big"),
            settlement("call_2.1", cost_nano_usd=100, usage=_counts(11, 13, "estimated")),
        ),
        (
            intent("call_3.1", opened_at_ms=NOW_MS + DAY_MS, price=None, bound_nano_usd=None),
            settlement("call_3.1", cost_nano_usd=None),
        ),
        (
            intent("call_4.1", opened_at_ms=NOW_MS + DAY_MS),
            settlement("call_4.1", cost_nano_usd=10**15, usage=_counts(1, 1, "partial")),
        ),
        (intent("call_5.1", key_id="k2"), None),
    ]
    for opened, settled in charges:
        await accounts.open(opened)
        if settled:
            await accounts.settle(settled)
    return accounts


def _counts(prompt: int, completion: int, source: str) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, source=source)  # type: ignore[arg-type]


def figures(row: UsageRow) -> tuple[int, ...]:
    counts = (row.calls, row.attempts, row.cost_nano_usd)
    tokens = (row.tokens["prompt_tokens"], row.tokens["completion_tokens"])
    return (*counts, *tokens, row.unpriced, row.estimated, row.open, row.lost)


async def test_usage_without_groups_is_one_row_of_sums(
    ledger: SqlAccounts, reports: Reports
) -> None:
    (row,) = await reports.usage()
    assert row.group == ()
    assert figures(row) == (5, 6, 10**15 + 110, 22, 28, 1, 2, 1, 0)
    assert row.tokens["cached_tokens"] == 4


async def test_usage_of_an_empty_ledger_is_zero(reports: Reports) -> None:
    (row,) = await reports.usage()
    assert figures(row) == (0,) * 9
    assert await reports.usage(["key"]) == []


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (["key"], {("k1",): (3, 4), ("k2",): (2, 2)}),
        (["team"], {(None,): (1, 1), ("red",): (4, 5)}),
        (["model"], {("fast",): (4, 5), ("slow",): (1, 1)}),
        (["day"], {(TODAY,): (3, 4), (TOMORROW,): (2, 2)}),
        (["provider"], {("azure",): (1, 1), ("openai",): (5, 5)}),
        (["target"], {("azure/gpt",): (1, 1), ("openai/big",): (1, 1), ("openai/gpt",): (4, 4)}),
        (
            ["day", "key"],
            {(TODAY, "k1"): (1, 2), (TODAY, "k2"): (2, 2), (TOMORROW, "k1"): (2, 2)},
        ),
    ],
)
async def test_usage_is_grouped(
    ledger: SqlAccounts,
    reports: Reports,
    by: list[str],
    groups: dict[tuple[str, ...], tuple[int, int]],
) -> None:
    rows = await reports.usage(by)
    assert {row.group: (row.calls, row.attempts) for row in rows} == groups
    (whole,) = await reports.usage()
    assert sum(row.cost_nano_usd for row in rows) == whole.cost_nano_usd


async def test_an_unknown_group_is_refused(reports: Reports) -> None:
    with pytest.raises(KeyError):
        await reports.usage(["key_id; DROP TABLE charges"])


@pytest.mark.parametrize(
    ("where", "attempts"),
    [
        (Filter(key="k2"), 2),
        (Filter(team="red"), 5),
        (Filter(model="slow"), 1),
        (Filter(since_ms=NOW_MS + 1), 2),
        (Filter(until_ms=NOW_MS + 1), 4),
        (Filter(key="k1", since_ms=NOW_MS, until_ms=NOW_MS), 0),
        (Filter(error="timeout"), 1),
    ],
)
async def test_usage_is_filtered(
    ledger: SqlAccounts, reports: Reports, where: Filter, attempts: int
) -> None:
    (row,) = await reports.usage(where=where)
    assert row.attempts == attempts


async def test_lost_charges_count_at_their_bound(
    ledger: SqlAccounts, leases: Leases, reports: Reports, clock: Clock
) -> None:
    await leases.leave()
    await leases.sweep()
    (row,) = await reports.usage(where=Filter(key="k2"))
    assert (row.open, row.lost, row.cost_nano_usd) == (0, 1, 1_100)


@pytest.fixture
async def calls(ledger: SqlAccounts) -> SqlAccounts:
    for number in range(1, 6):
        ledger.record(
            record(
                f"call_{number}",
                received_at_ms=NOW_MS + number // 2,  # some at the same moment
                key_id=f"k{number % 2}",
                status=200 if number < 4 else 504,
                error=None if number < 4 else "timeout",
            )
        )
    await ledger.drain()
    return ledger


async def test_calls_are_listed_newest_first_with_their_cost(
    calls: SqlAccounts, reports: Reports
) -> None:
    page = await reports.calls()
    assert [row.record.call_id for row in page.rows] == [f"call_{n}" for n in (5, 4, 3, 2, 1)]
    assert page.next is None
    oldest = page.rows[-1]
    assert (oldest.cost_nano_usd, oldest.prompt_tokens, oldest.completion_tokens) == (10, 5, 7)
    assert oldest.record == record("call_1", key_id="k1")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_pages_join_without_gap_or_repetition(
    calls: SqlAccounts, reports: Reports, limit: int
) -> None:
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await reports.calls(limit=limit, after=after)
        seen += [row.record.call_id for row in page.rows]
        calls.record(record(f"new_{len(seen)}", received_at_ms=NOW_MS + 10**6))
        await calls.drain()  # arrives meanwhile, and belongs to no later page
        if (after := page.next) is None:
            break
    assert seen == ["call_5", "call_4", "call_3", "call_2", "call_1"]


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (Filter(key="k0"), [4, 2]),
        (Filter(status=504), [5, 4]),
        (Filter(error="timeout", key="k1"), [5]),
        (Filter(since_ms=NOW_MS + 1, until_ms=NOW_MS + 2), [3, 2]),
        (Filter(team="blue"), []),
        (Filter(model="fast", status=200), [3, 2, 1]),
    ],
)
async def test_calls_are_filtered(
    calls: SqlAccounts, reports: Reports, where: Filter, numbers: list[int]
) -> None:
    page = await reports.calls(where)
    assert [row.record.call_id for row in page.rows] == [f"call_{number}" for number in numbers]


@pytest.mark.parametrize("after", ["", "abc", "12", "x:call_1", "-1:call_1"])
async def test_a_position_that_is_none_is_refused(reports: Reports, after: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        await reports.calls(after=after)


async def test_a_call_is_shown_with_its_attempts(calls: SqlAccounts, reports: Reports) -> None:
    detail = await reports.call("call_1")
    assert detail is not None
    assert detail.record == record("call_1", key_id="k1")
    first, second = detail.attempts
    assert (first.number, first.target, first.error) == (1, "openai/gpt", "timeout")
    assert (first.usage, first.cost_nano_usd) == (None, 0)
    assert (second.number, second.target, second.state) == (2, "azure/gpt", "settled")
    assert second.usage == Usage(prompt_tokens=5, cached_tokens=2, completion_tokens=7)
    assert second.price == PRICE.document()


async def test_a_call_under_way_is_shown_by_its_attempts(
    ledger: SqlAccounts, reports: Reports
) -> None:
    detail = await reports.call("call_5")
    assert detail is not None
    assert detail.record is None
    assert [attempt.state for attempt in detail.attempts] == ["open"]
    assert await reports.call("call_6") is None
