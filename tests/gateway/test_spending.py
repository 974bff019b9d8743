"""When is an attempt refused for money, when does it wait, and what is told?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.budgets import Budgeted, BudgetOverrun, Budgets, Clamped
from gateway.config import Budgeting
from gateway.errors import BudgetExceeded, CostUnbounded, Unavailable
from gateway.exchange import Call
from gateway.keys import VirtualKey
from gateway.ledger import Intent
from gateway.spending import Opened, Spending
from gateway.trace import Stopped
from gateway.worstcase import bound_nano_usd
from tests.builders import call, price, target
from tests.fakes.accounts import Book
from tests.gateway.store.entries import intent, until
from tests.gateway.test_budgets import budget

AT = target("openai/gpt", price=price(), model={"max_completion_tokens": 10})
HARD = budget(id="b1", limit_nano_usd=2_500)
SOFT = budget(id="b2", period="month", limit_nano_usd=1_500, hard=False)


def spending(book: Book, *budgets: Any, **settings: Any) -> Spending:
    return Spending(book, Budgets(budgets), Budgeting(**{"wait_s": 5.0, **settings}))


def asked(number: int = 1, **more: Any) -> tuple[Call, Intent]:
    return call(at=AT), intent(f"call_{number}.1", **more)


async def test_without_a_budget_the_intent_is_committed_alone() -> None:
    book = Book()
    opened = await spending(book, budget("team", "blue")).open(*asked())
    assert not opened.budgeted
    assert len(book.intents) == 1
    assert book.held == {}


async def test_an_attempt_holds_its_bound_and_the_trace_says_what_is_left() -> None:
    book = Book()
    made, wanted = asked()
    opened = await spending(book, HARD, SOFT).open(made, wanted)
    assert opened.budgeted
    assert book.held == {"b1": 1_000, "b2": 1_000}
    left = {"team:red/day": 1_500, "team:red/month": 500}
    assert made.trace.last(Budgeted) == Budgeted(1_000, left)
    assert made.trace.last(BudgetOverrun) is None


async def test_a_soft_budget_that_is_used_up_is_told_and_refuses_nothing() -> None:
    book = Book()
    money = spending(book, SOFT)
    for number in (1, 2):
        made, wanted = asked(number)
        await money.open(made, wanted)
    assert made.trace.last(BudgetOverrun) == BudgetOverrun(("team:red/month",))
    assert made.trace.describe()[-1] == {
        "fact": "budget_overrun",
        "budgets": ("team:red/month",),
    }


async def test_what_could_not_fit_even_if_all_were_settled_is_refused_at_once() -> None:
    book = Book()
    book.spent["b1"] = 1_501
    with pytest.raises(BudgetExceeded) as refused:
        await spending(book, HARD, wait_s=3600.0).open(*asked())
    assert (refused.value.status, refused.value.type) == (429, "insufficient_quota")
    assert refused.value.headers() == {"x-should-retry": "false"}
    assert "team:red/day" in refused.value.message
    assert not any(character.isdigit() for character in refused.value.message)
    assert book.intents == []


async def test_who_comes_when_all_is_held_waits_for_a_settlement() -> None:
    book = Book()
    book.held["b1"] = 2_000
    waiting = asyncio.create_task(spending(book, HARD).open(*asked()))
    await until(lambda: book.asked_for == 3)
    assert not waiting.done()
    book.held["b1"] = 0
    assert (await waiting).budgeted
    assert book.held == {"b1": 1_000}


async def test_nobody_waits_longer_than_configured() -> None:
    book = Book()
    book.held["b1"] = 2_000
    with pytest.raises(BudgetExceeded):
        await spending(book, HARD, wait_s=0.05).open(*asked())
    assert book.held == {"b1": 2_000}


async def test_nobody_waits_where_waiting_is_off() -> None:
    book = Book()
    book.held["b1"] = 2_000
    with pytest.raises(BudgetExceeded):
        await spending(book, HARD, wait_s=0.0).open(*asked())
    assert book.asked_for == 1


async def test_while_many_wait_only_one_asks() -> None:
    book = Book()
    book.held["b1"] = 2_000
    money = spending(book, HARD, wait_s=0.12)
    outcomes = await asyncio.gather(
        *(money.open(*asked(number)) for number in range(50)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {BudgetExceeded}
    assert 50 < book.asked_for < 100  # everyone once, and then one of them each 50 ms


async def test_all_who_fit_are_let_in_one_after_the_other() -> None:
    book = Book()
    book.held["b1"] = 50_000
    wide = budget(id="b1", limit_nano_usd=50_000)
    money = spending(book, wide)
    waiting = [asyncio.create_task(money.open(*asked(number))) for number in range(40)]
    await until(lambda: book.asked_for >= 41)
    book.held["b1"] = 0
    async with asyncio.timeout(1.5):  # polls of 50 ms each would take 2 s
        await asyncio.gather(*waiting)
    assert book.held == {"b1": 40_000}


@pytest.mark.parametrize("body", [{"tools": [{"type": "web_search"}]}, {"plugins": ["web"]}])
async def test_what_has_no_bound_is_refused_under_a_hard_budget(body: dict[str, Any]) -> None:
    book = Book()
    made = call(at=AT, body=body)
    with pytest.raises(CostUnbounded) as refused:
        await spending(book, HARD).open(made, intent())
    assert (refused.value.status, refused.value.should_retry) == (400, False)
    assert book.asked_for == 0
    assert (await spending(book, SOFT).open(made, intent())).budgeted
    assert (await spending(book, HARD, unbounded="allow").open(made, intent())).budgeted


async def test_peeking_tells_the_same_and_holds_nothing() -> None:
    book = Book()
    book.held["b2"] = 1_000
    money = spending(book, HARD, SOFT)
    seen, wanted = asked()
    await money.peek(seen, wanted)
    assert book.held == {"b2": 1_000}
    assert book.intents == []
    made, wanted = asked()
    await money.open(made, wanted)
    assert seen.trace.describe() == made.trace.describe()


async def test_peeking_refuses_at_once_what_would_be_refused() -> None:
    book = Book()
    book.held["b1"] = 2_000
    with pytest.raises(BudgetExceeded):
        await spending(book, HARD, wait_s=3600.0).peek(*asked())


async def test_a_ledger_that_cannot_be_written_is_no_matter_of_money() -> None:
    with pytest.raises(Unavailable):
        await spending(Book(closed=True), HARD).open(*asked())


# ------------------------------------------------------------------------------ clamping

LONG = target("openai/gpt", price=price(), model={"max_completion_tokens": 10_000})


def long_call(*, clamp: bool = True) -> tuple[Call, Intent]:
    made = call(at=LONG, key=VirtualKey(id="k1", name="k", team="red", settings={"clamp": clamp}))
    return made, intent(bound_nano_usd=bound_nano_usd(made))


async def test_where_the_key_allows_it_the_answer_is_shortened_to_what_is_left() -> None:
    book = Book()
    tight = budget(id="b1", limit_nano_usd=1_000_000)
    tighter = budget(id="b2", period="month", limit_nano_usd=600_000)
    made, wanted = long_call()
    opened = await spending(book, tight, tighter).open(made, wanted)
    tokens = opened.call.body["max_completion_tokens"]
    assert made.trace.last(Clamped) == Clamped(tokens)
    assert not Clamped.storable
    (written,) = book.intents
    assert written.bound_nano_usd == bound_nano_usd(opened.call)
    assert book.held == dict.fromkeys(("b1", "b2"), written.bound_nano_usd)
    assert 598_000 < book.held["b2"] <= 600_000
    seen, wanted = long_call()
    await spending(Book(), tight, tighter).peek(seen, wanted)
    assert seen.trace.describe() == made.trace.describe()


async def test_without_the_setting_nothing_is_shortened() -> None:
    with pytest.raises(BudgetExceeded):
        await spending(Book(), budget(limit_nano_usd=600_000)).open(*long_call(clamp=False))


async def test_what_has_room_is_not_shortened() -> None:
    made, wanted = long_call()
    opened = await spending(Book(), budget(limit_nano_usd=10**12)).open(made, wanted)
    assert opened.call is made
    assert made.trace.last(Clamped) is None


# ------------------------------------------------------------------------------- streams

SHOWN = target(
    "openai/gpt", price=price(), model={"hidden_reasoning": False, "max_completion_tokens": 10_000}
)
TOKEN = 2_000


def streaming() -> tuple[Call, Intent]:
    made = call(at=SHOWN, stream=True)
    return made, intent(bound_nano_usd=bound_nano_usd(made))


def worst_case(tokens: int) -> int:
    return bound_nano_usd(call(at=SHOWN, body={"max_tokens": tokens})) or 0


async def opened(
    book: Book, limit_tokens: int = 10_000, **settings: Any
) -> tuple[Opened, Spending, Call]:
    made, wanted = streaming()
    hard = budget(id="b1", limit_nano_usd=worst_case(limit_tokens))
    money = spending(book, hard, **{"reserve_output_tokens": 1_000, **settings})
    return await money.open(made, wanted), money, made


async def topped(found: Opened, tokens: int) -> bool:
    assert found.top_up is not None
    return await found.top_up(tokens)


async def test_a_stream_without_a_limit_holds_a_first_part_of_its_answer() -> None:
    book = Book()
    found, _, made = await opened(book)
    (written,) = book.intents
    assert written.bound_nano_usd == book.held["b1"] == worst_case(1_000)
    assert found.call is made  # what is sent is what was asked
    left = {"team:red/day": 9_000 * TOKEN}
    assert made.trace.last(Budgeted) == Budgeted(worst_case(1_000), left)


async def test_peeking_at_a_stream_tells_the_same() -> None:
    _, money, made = await opened(Book())
    seen, wanted = streaming()
    fresh = Spending(Book(), money._budgets, money._settings)
    await fresh.peek(seen, wanted)
    assert seen.trace.describe() == made.trace.describe()


async def test_a_stream_needs_less_room_than_its_longest_answer() -> None:
    with pytest.raises(BudgetExceeded):
        await opened(Book(), limit_tokens=999, wait_s=0.0)
    assert (await opened(Book(), limit_tokens=1_000))[0].budgeted


async def test_a_top_up_holds_the_same_again() -> None:
    book = Book()
    found, _, _ = await opened(book)
    assert await topped(found, 1_001)
    assert book.held == {"b1": worst_case(2_000)}
    assert book.events[-1] == f"top up call_1.1 {1_000 * TOKEN}"


async def test_a_top_up_takes_what_is_left_if_it_is_enough() -> None:
    book = Book()
    found, _, made = await opened(book, limit_tokens=1_500)
    assert await topped(found, 1_100)
    assert book.held == {"b1": worst_case(1_500)}
    assert made.trace.last(Stopped) is None


@pytest.mark.parametrize(("room", "needed"), [(1_500, 1_501), (1_063, 1_001)])
async def test_without_room_a_stream_is_stopped_and_the_budget_named(
    room: int, needed: int
) -> None:
    book = Book()
    found, _, made = await opened(book, limit_tokens=room, wait_s=3600.0)
    assert not await topped(found, needed)
    assert made.trace.last(Stopped) == Stopped("team:red/day", 1_000)
    assert not Stopped.storable
    assert book.held == {"b1": worst_case(1_000)}


async def test_a_top_up_waits_for_settlements_that_make_room() -> None:
    book = Book()
    found, _, made = await opened(book)
    book.held["b1"] += 9_000 * TOKEN
    waiting = asyncio.create_task(topped(found, 1_500))
    await until(lambda: book.asked_for == 4)
    assert not waiting.done()
    book.held["b1"] -= 9_000 * TOKEN
    assert await waiting
    assert book.held == {"b1": worst_case(1_500)}
    assert made.trace.last(Stopped) is None


async def test_a_top_up_waits_no_longer_than_configured() -> None:
    book = Book()
    found, _, _ = await opened(book, wait_s=0.05)
    book.held["b1"] += 9_000 * TOKEN
    assert not await topped(found, 1_500)


async def test_a_top_up_asks_the_budgets_as_they_are_now() -> None:
    book = Book()
    found, money, _ = await opened(book, limit_tokens=1_000, wait_s=0.0)
    money._budgets.replace([budget(id="b1", limit_nano_usd=worst_case(3_000))])
    assert await topped(found, 1_001)
    money._budgets.replace([])
    assert await topped(found, 5_000)
    assert book.held == {"b1": worst_case(2_000)}


async def test_a_ledger_that_cannot_be_written_stops_no_stream_for_money() -> None:
    book = Book()
    found, _, made = await opened(book)
    book.closed = True
    with pytest.raises(Unavailable):
        await topped(found, 1_001)
    assert made.trace.last(Stopped) is None
