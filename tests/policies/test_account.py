"""What does each ending of an attempt cost, and when is that written down?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.budgets import Budgeted, Budgets
from gateway.config import Budgeting
from gateway.errors import (
    ContentFiltered,
    Draining,
    ResponseParsing,
    ServerError,
    SluiceError,
    Unavailable,
    UpstreamFailure,
    UpstreamTimeout,
)
from gateway.exchange import Call, Handler, Reply, Stream
from gateway.ledger import Settlement
from gateway.meter import Pace
from gateway.spending import Spending
from gateway.tokens import estimate_prompt_tokens
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, NeverSent, Stopped, ToppedUp
from gateway.usage import Usage
from gateway.worstcase import UNKNOWN_LIMIT_TOKENS, bound_nano_usd
from policies.account import Account
from tests.builders import (
    Answers,
    Closings,
    call,
    completion,
    price,
    stream,
    target,
    text_event,
    usage_event,
)
from tests.fakes.accounts import Book
from tests.gateway.test_budgets import budget

PRICED = target("fake/model", price=price(1e-6, 2e-6))
USAGE = Usage(prompt_tokens=10, completion_tokens=5)
USAGE_COST = 20_000
NOW = 1_700_000_000.25


def account(book: Book, pace: Pace | None = None) -> Account:
    spending = Spending(book, Budgets(), Budgeting())
    return Account(book, spending, pace or Pace(), now=lambda: NOW)


def cost_of(usage: Usage) -> int:
    return usage.prompt_tokens * 1_000 + usage.completion_tokens * 2_000


async def settled(asked: Call, *answers: Reply | BaseException) -> Settlement:
    """The settlement of one attempt, whatever it ended with; a stream is read to its end."""
    book = Book()
    try:
        reply = await account(book)(asked, Answers(*answers))
        if isinstance(reply, Stream):
            _ = [events async for events in reply]
    except (SluiceError, TypeError, asyncio.CancelledError):
        pass
    assert len(book.intents) == 1
    return book.settlement


# -------------------------------------------------------------------------------- before


async def test_the_intent_is_written_before_the_provider_is_called() -> None:
    book = Book()

    async def provider(asked: Call) -> Reply:
        book.events.append("provider")
        return completion(usage=USAGE)

    await account(book)(call(at=PRICED), provider)
    book.events.append("returned")
    assert book.events == ["open call_1.1", "provider", "settle call_1.1", "returned"]


async def test_the_intent_names_the_attempt_and_its_worst_case() -> None:
    book = Book()
    asked = call(
        at=PRICED, body={"model": "alias", "max_tokens": 100}, controls={"tags": ["blue"]}
    ).with_(attempt=3)
    await account(book)(asked, Answers(completion(usage=USAGE)))
    (intent,) = book.intents
    assert (intent.charge_id, intent.call_id, intent.attempt) == ("call_1.3", "call_1", 3)
    assert (intent.key_id, intent.team, intent.tags) == ("k1", "red", ("blue",))
    assert (intent.asked_model, intent.provider, intent.model) == ("alias", "fake", "model")
    assert intent.credential == "default"
    assert intent.price is PRICED.model.price
    assert intent.opened_at_ms == 1_700_000_000_250
    assert intent.bound_nano_usd is not None
    assert 100 * 2_000 < intent.bound_nano_usd < 100 * 2_000 + 1_000_000


async def test_an_attempt_without_a_price_has_no_worst_case() -> None:
    book = Book()
    await account(book)(call(at=target(), body={"max_tokens": 1}), Answers(completion()))
    assert [intent.bound_nano_usd for intent in book.intents] == [None]


async def test_where_nobody_names_a_longest_answer_one_is_assumed() -> None:
    book = Book()
    await account(book)(call(at=PRICED), Answers(completion(usage=USAGE)))
    await account(book)(call(at=PRICED, body={"n": 2}), Answers(completion(usage=USAGE)))
    one, two = (intent.bound_nano_usd for intent in book.intents)
    assert one is not None
    assert two is not None
    assert two - one >= UNKNOWN_LIMIT_TOKENS * 2_000


async def test_without_a_ledger_no_provider_is_called() -> None:
    book, answers = Book(closed=True), Answers(completion())
    with pytest.raises(Unavailable):
        await account(book)(call(at=PRICED), answers)
    assert answers.calls == []
    assert book.settlements == []


async def test_an_explanation_opens_no_charge() -> None:
    book, answer = Book(), completion(usage=USAGE)
    assert await account(book)(call(at=PRICED, dry_run=True), Answers(answer)) is answer
    assert book.events == []


# ------------------------------------------------------------------------------- endings


async def test_an_exact_usage_is_charged_exactly() -> None:
    asked = call(at=PRICED)
    found = await settled(asked, completion(usage=USAGE))
    assert (found.usage, found.cost_nano_usd, found.error) == (USAGE, USAGE_COST, None)
    assert found.settled_at_ms == 1_700_000_000_250
    ended = asked.trace.last(AttemptEnded)
    assert ended is not None
    assert (ended.charge_id, ended.cost_nano_usd, ended.usage) == ("call_1.1", USAGE_COST, USAGE)


async def test_an_unknown_price_costs_nobody_knows_what() -> None:
    found = await settled(call(at=target()), completion(usage=USAGE))
    assert (found.usage, found.cost_nano_usd) == (USAGE, None)


async def test_an_answer_without_a_usage_is_estimated() -> None:
    found = await settled(call(at=PRICED), completion())
    assert found.usage is not None
    assert found.usage.source == "estimated"
    assert found.cost_nano_usd == cost_of(found.usage) > 0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("failure", [ServerError("x"), ContentFiltered("x")])
async def test_what_was_refused_before_any_work_costs_nothing(
    failure: UpstreamFailure, streamed: bool
) -> None:
    found = await settled(call(at=PRICED, stream=streamed), failure)
    assert (found.usage, found.cost_nano_usd, found.error) == (None, 0, failure.kind)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("failure", [UpstreamTimeout("x"), ResponseParsing("x")])
async def test_work_that_may_have_been_done_is_estimated_and_flagged(
    failure: UpstreamFailure, streamed: bool
) -> None:
    asked = call(at=PRICED, stream=streamed)
    found = await settled(asked, failure)
    assert found.usage is not None
    assert found.usage.source == "estimated"
    assert found.usage.prompt_tokens == estimate_prompt_tokens(asked.body)
    assert found.cost_nano_usd == cost_of(found.usage)
    assert found.error == failure.kind


async def test_billable_is_asked_of_the_failure_itself_not_of_its_class() -> None:
    failure = UpstreamTimeout("could not connect")
    failure.billable = False
    assert (await settled(call(at=PRICED), failure)).cost_nano_usd == 0


async def test_a_refusal_below_costs_nothing() -> None:
    found = await settled(call(at=PRICED), Draining("x"))
    assert (found.cost_nano_usd, found.error) == (0, "draining")


async def test_a_bug_below_is_settled_too() -> None:
    found = await settled(call(at=PRICED), TypeError("bug"))
    assert found.error == "internal_error"
    assert found.usage is not None
    assert found.usage.source == "estimated"


# ------------------------------------------------------------------------------- streams


async def test_a_stream_is_settled_before_its_end_is_reported() -> None:
    book, closings = Book(), Closings()
    source = stream([text_event("a")], [usage_event(USAGE)], close=closings)
    reply = await account(book)(call(at=PRICED, stream=True), Answers(source))
    assert isinstance(reply, Stream)
    assert book.settlements == []
    async for _ in reply:
        assert book.settlements == []
    book.events.append("end")
    assert book.events == ["open call_1.1", "settle call_1.1", "end"]
    assert (book.settlement.usage, book.settlement.cost_nano_usd) == (USAGE, USAGE_COST)
    assert (book.settlement.error, closings.count) == (None, 1)


async def test_a_stream_without_a_usage_is_estimated_from_its_text() -> None:
    asked = call(at=PRICED, stream=True)
    found = await settled(asked, stream([text_event("x" * 40)], [text_event("y" * 40)]))
    assert found.usage == Usage(
        prompt_tokens=estimate_prompt_tokens(asked.body), completion_tokens=20, source="estimated"
    )
    assert found.error is None


async def test_a_stream_that_fails_is_charged_for_what_came() -> None:
    failing = stream([text_event("x" * 40)], ResponseParsing("cut"))
    found = await settled(call(at=PRICED, stream=True), failing)
    assert found.error == "response_parsing"
    assert found.usage is not None
    assert (found.usage.completion_tokens, found.usage.source) == (10, "estimated")


async def test_a_usage_before_a_cut_is_partial() -> None:
    cut = stream([usage_event(USAGE)], [text_event("x" * 400)], ResponseParsing("cut"))
    found = await settled(call(at=PRICED, stream=True), cut)
    assert found.usage is not None
    assert found.usage.source == "partial"
    assert found.usage.prompt_tokens == USAGE.prompt_tokens
    assert found.usage.completion_tokens == 100


async def test_an_abandoned_stream_is_charged_for_what_came() -> None:
    book, closings = Book(), Closings()
    source = stream([text_event("x" * 40)], [text_event("never read")], close=closings)
    reply = await account(book)(call(at=PRICED, stream=True), Answers(source))
    assert isinstance(reply, Stream)
    await reply.__anext__()
    await reply.aclose()
    await reply.aclose()
    assert book.settlement.error == "client_gone"
    assert book.settlement.usage is not None
    assert book.settlement.usage.completion_tokens == 10
    assert closings.count == 1


async def test_a_stream_nobody_read_is_charged_for_its_prompt() -> None:
    book = Book()
    asked = call(at=PRICED, stream=True)
    reply = await account(book)(asked, Answers(stream([text_event("never read")])))
    assert isinstance(reply, Stream)
    await reply.aclose(Draining("x"))
    assert book.settlement.error == "draining"
    assert book.settlement.usage is not None
    assert book.settlement.usage.completion_tokens == 0
    assert book.settlement.usage.prompt_tokens == estimate_prompt_tokens(asked.body)


# --------------------------------------------------------------------------- cancellation


class Hanging:
    """A provider that never answers."""

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def __call__(self, asked: Call) -> Reply:
        self.called.set()
        await asyncio.Event().wait()
        raise AssertionError


async def cancelled(book: Book, asked: Call, pace: Pace, *reason: str) -> None:
    provider = Hanging()
    task = asyncio.create_task(running(account(book, pace), asked, provider))
    await provider.called.wait()
    task.cancel(*reason)
    with pytest.raises(asyncio.CancelledError):
        await task


async def running(policy: Account, asked: Call, provider: Handler) -> Reply:
    return await policy(asked, provider)


@pytest.mark.parametrize(
    ("reason", "error"),
    [((), "client_gone"), (("client_gone",), "client_gone"), (("draining",), "draining")],
)
async def test_a_cancelled_call_is_charged_for_its_time_at_most_for_its_limit(
    reason: tuple[str, ...], error: str
) -> None:
    book, pace = Book(), Pace()
    pace.observe(PRICED, 10**12, 1.0)  # so fast that any time is enough for the limit
    asked = call(at=PRICED, body={"max_tokens": 77})
    await cancelled(book, asked, pace, *reason)
    usage = book.settlement.usage
    assert usage == Usage(
        prompt_tokens=estimate_prompt_tokens(asked.body), completion_tokens=77, source="estimated"
    )
    assert book.settlement.cost_nano_usd == cost_of(usage)
    assert book.settlement.error == error


async def test_a_cancelled_stream_that_has_not_begun_is_charged_for_its_prompt() -> None:
    book, pace = Book(), Pace()
    pace.observe(PRICED, 10**12, 1.0)
    await cancelled(book, call(at=PRICED, stream=True), pace)
    assert book.settlement.usage is not None
    assert book.settlement.usage.completion_tokens == 0
    assert book.settlement.usage.prompt_tokens > 0


async def test_a_charge_is_settled_once_even_if_its_settling_is_cancelled() -> None:
    book = Book()
    book.stuck = asyncio.Event()
    policy = account(book)
    answers = Answers(completion(usage=USAGE))
    task = asyncio.create_task(running(policy, call(at=PRICED), answers))
    await book.asked.wait()
    task.cancel("client_gone")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (book.settlement.usage, book.settlement.error) == (USAGE, None)


async def test_the_reader_of_a_stream_may_be_cancelled_while_it_settles() -> None:
    book = Book()
    book.stuck = asyncio.Event()
    reply = await account(book)(call(at=PRICED, stream=True), Answers(stream([usage_event(USAGE)])))
    assert isinstance(reply, Stream)
    await reply.__anext__()
    reading = asyncio.ensure_future(reply.__anext__())
    await book.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    book.stuck.set()
    await reply.aclose()
    assert book.settlement.usage == USAGE
    assert book.events[-1] == "settle call_1.1"


# --------------------------------------------------------------------------------- times


async def test_the_time_to_the_first_event_counts_from_the_sending() -> None:
    book = Book()
    asked = call(at=PRICED)

    async def lane(asked: Call) -> Reply:
        asked.trace.add(AttemptSent(1, 2.0))
        asked.trace.add(AttemptAnswered(1, 2.25))
        return completion(usage=USAGE)

    await account(book)(asked, lane)
    assert book.settlement.first_event_ms == 250


async def test_an_attempt_without_an_answer_has_no_time_to_it() -> None:
    book = Book()
    asked = call(at=PRICED)
    asked.trace.add(AttemptSent(1, 1.0))
    asked.trace.add(AttemptAnswered(1, 1.5))
    with pytest.raises(ServerError):
        await account(book)(asked.with_(attempt=2), Answers(ServerError("x")))
    assert book.settlement.first_event_ms is None


async def test_the_targets_pace_is_learned_from_exact_usages() -> None:
    pace = Pace()
    await account(Book(), pace)(call(at=PRICED), Answers(completion(usage=USAGE)))
    assert pace.tokens_per_s(PRICED) > Pace.DEFAULT_TOKENS_PER_S


async def test_an_attempt_that_was_never_sent_costs_nothing() -> None:
    book = Book()

    async def leaves_while_connecting(call: Call) -> Reply:
        call.trace.add(NeverSent(call.attempt))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await account(book)(call(at=PRICED), leaves_while_connecting)
    assert [(s.usage, s.cost_nano_usd) for s in book.settlements] == [(None, 0)]


# ----------------------------------------------------------------------------- dry runs


async def test_a_dry_run_tells_what_would_be_held_and_writes_nothing() -> None:
    book = Book()
    daily = budget(limit_nano_usd=10**9)
    policy = Account(book, Spending(book, Budgets([daily]), Budgeting()), Pace())
    at = target("fake/model", price=price(), model={"max_completion_tokens": 10})
    seen = call(at=at, dry_run=True)
    await policy(seen, Answers(completion()))
    told = seen.trace.last(Budgeted)
    assert told is not None
    assert told.left_nano_usd == {daily.name: 10**9 - told.bound_nano_usd}
    assert (book.intents, book.settlements, book.held) == ([], [], {})


async def test_the_settlement_of_what_holds_something_says_so() -> None:
    book = Book()
    policy = Account(book, Spending(book, Budgets([budget(hard=False)]), Budgeting()), Pace())
    await policy(call(at=PRICED), Answers(completion(usage=USAGE)))
    assert book.settlement.budgeted
    assert not (await settled(call(at=PRICED), completion(usage=USAGE))).budgeted


# ------------------------------------------------------------------------------ top-ups

SHOWN = target(
    "fake/model", price=price(), model={"hidden_reasoning": False, "max_completion_tokens": 10_000}
)
SETTINGS = Budgeting(reserve_output_tokens=132, wait_s=0.0)  # 100 bytes, and 32 tokens beside


def paying(book: Book, limit_nano_usd: int) -> Account:
    budgets = Budgets([budget(id="b1", limit_nano_usd=limit_nano_usd)])
    return Account(book, Spending(book, budgets, SETTINGS), Pace(), now=lambda: NOW)


async def test_a_stream_tops_up_and_is_charged_exactly() -> None:
    book, asked = Book(), call(at=SHOWN, stream=True)
    source = stream(*([text_event("x" * 50)] for _ in range(8)), [usage_event(USAGE)])
    reply = await paying(book, 10**9)(asked, Answers(source))
    assert isinstance(reply, Stream)
    assert len([events async for events in reply]) == 9
    (opening,) = book.intents
    held = (opening.bound_nano_usd or 0) + 3 * 132 * 2_000
    assert asked.trace.last(ToppedUp) == ToppedUp(3, held)
    assert (book.settlement.usage, book.settlement.error) == (USAGE, None)
    assert (book.held, book.spent) == ({"b1": 0}, {"b1": USAGE_COST})


async def test_a_stopped_stream_is_closed_and_charged_for_what_was_passed_on() -> None:
    book, asked, closings = Book(), call(at=SHOWN, stream=True), Closings()
    running = Usage(
        prompt_tokens=10, completion_tokens=20
    )  # a count so far, as some providers send
    first = text_event("x" * 80)
    first.usage = running
    source = stream([first], [text_event("y" * 80)], [text_event("z")], close=closings)
    room = (bound_nano_usd(asked.with_(body={**asked.body, "max_tokens": 132})) or 0) + 1
    reply = await paying(book, room)(asked, Answers(source))
    assert isinstance(reply, Stream)
    events = [event async for events in reply for event in events]
    assert [event.data["choices"][0].get("finish_reason") for event in events] == [None, "length"]
    assert asked.trace.last(Stopped) == Stopped("team:red/day", 132)
    assert (book.settlement.error, closings.count) == ("budget_exceeded", 1)
    assert book.settlement.usage is not None
    assert (book.settlement.usage.completion_tokens, book.settlement.usage.source) == (
        20,
        "partial",
    )
    assert book.held == {"b1": 0}
    assert asked.trace.last(ToppedUp) is None


async def test_where_the_ledger_is_gone_a_stream_fails() -> None:
    book, asked = Book(), call(at=SHOWN, stream=True)
    source = stream([text_event("x" * 80)], [text_event("y" * 80)])
    reply = await paying(book, 10**9)(asked, Answers(source))
    assert isinstance(reply, Stream)
    await anext(reply)
    book.closed = True
    with pytest.raises(Unavailable):
        await anext(reply)
    assert book.settlement.error == "unavailable"


async def test_a_stream_without_a_budget_has_no_reserve() -> None:
    book, asked = Book(), call(at=SHOWN, stream=True)
    source = stream(*([text_event("x" * 50)] for _ in range(8)), [usage_event(USAGE)])
    reply = await account(book)(asked, Answers(source))
    assert isinstance(reply, Stream)
    _ = [events async for events in reply]
    assert book.events == ["open call_1.1", "settle call_1.1"]
    assert [intent.bound_nano_usd for intent in book.intents] == [bound_nano_usd(asked)]
