"""Is a cheaper target tried where a budget has no room, and nothing else?"""

from __future__ import annotations

import pytest

from gateway.budgets import Budgets
from gateway.config import Budgeting
from gateway.config import Health as HealthSettings
from gateway.config import Retry as RetrySettings
from gateway.errors import BudgetExceeded, CostUnbounded, Overloaded
from gateway.exchange import Reply, chain
from gateway.health import Health
from gateway.meter import Pace
from gateway.spending import Spending
from gateway.targets import Target
from gateway.trace import AttemptStarted
from policies.account import Account
from policies.retry import Retry
from tests.builders import Answers, call, completion, price, target
from tests.fakes.accounts import Book
from tests.gateway.test_budgets import budget

LIMITED = {"max_completion_tokens": 1_000}


def priced(name: str, usd: float) -> Target:
    return target(f"fake/{name}", price=price(usd, usd), model=LIMITED)


DEAR, FAIR, CHEAP = priced("dear", 1e-4), priced("fair", 1e-5), priced("cheap", 1e-6)
UNPRICED = target("fake/unpriced", model=LIMITED)
ENOUGH_FOR_FAIR = 20_000_000  # of dear's bound of more than 100,000,000


class Run:
    """One call through Retry and Account under a hard budget."""

    def __init__(
        self,
        *targets: Target,
        limit: int = ENOUGH_FOR_FAIR,
        wait_s: float = 0.0,
        dry_run: bool = False,
    ) -> None:
        self.book = Book()
        self.call = call(candidates=targets, dry_run=dry_run)
        self.health = Health(HealthSettings())
        money = Budgets([budget(limit_nano_usd=limit)])
        spending = Spending(self.book, money, Budgeting(wait_s=wait_s))
        self._policies = [
            Retry(RetrySettings(base_s=0.0), self.health),
            Account(self.book, spending, Pace()),
        ]

    async def reply(self, *answers: Reply | BaseException) -> list[str]:
        """The names of the models that were called."""
        provider = Answers(*(answers or (completion(),)))
        await chain(self._policies, provider)(self.call)
        return [asked.chosen.model.name for asked in provider.calls]


async def test_the_next_target_that_is_cheaper_is_tried() -> None:
    run = Run(DEAR, FAIR, CHEAP)
    assert await run.reply() == ["fair"]
    started = [fact.target.model.name for fact in run.call.trace.all(AttemptStarted)]
    assert started == ["dear", "fair"]


async def test_no_target_that_costs_as_much_or_more_is_tried() -> None:
    run = Run(FAIR, DEAR, priced("same", 1e-5), limit=1_000)
    with pytest.raises(BudgetExceeded):
        await run.reply()
    assert len(run.call.trace.all(AttemptStarted)) == 1


async def test_a_refusal_for_money_comes_at_once_while_a_cheaper_target_is_left() -> None:
    run = Run(DEAR, CHEAP, wait_s=3600.0)
    run.book.held["team-red"] = 15_000_000
    assert await run.reply() == ["cheap"]


async def test_without_room_anywhere_the_caller_is_refused() -> None:
    run = Run(DEAR, FAIR, CHEAP, limit=1_000)
    with pytest.raises(BudgetExceeded):
        await run.reply()
    assert run.book.intents == []


async def test_a_target_with_a_price_takes_the_place_of_one_without() -> None:
    assert await Run(UNPRICED, FAIR).reply() == ["fair"]
    with pytest.raises(CostUnbounded):
        await Run(UNPRICED).reply()


async def test_a_failing_target_is_followed_by_what_there_is_money_for() -> None:
    assert await Run(FAIR, DEAR, CHEAP).reply(
        Overloaded("no"), Overloaded("no"), Overloaded("no"), completion()
    ) == ["fair", "fair", "fair", "cheap"]


async def test_a_dry_run_goes_on_to_the_cheaper_target_as_the_call_would() -> None:
    dry, real = Run(DEAR, FAIR, CHEAP, dry_run=True), Run(DEAR, FAIR, CHEAP)
    assert await dry.reply() == await real.reply() == ["fair"]
    started = [fact.target for fact in dry.call.trace.all(AttemptStarted)]
    assert started == [fact.target for fact in real.call.trace.all(AttemptStarted)]
    assert dry.book.intents == []
    assert dry.health.load.latency_s(FAIR.name) == 0.0


async def test_a_dry_run_without_room_anywhere_is_refused_as_the_call_would_be() -> None:
    for dry_run in (True, False):
        run = Run(DEAR, FAIR, CHEAP, limit=1_000, dry_run=dry_run)
        with pytest.raises(BudgetExceeded):
            await run.reply()
        names = [fact.target.model.name for fact in run.call.trace.all(AttemptStarted)]
        assert names == ["dear", "fair", "cheap"]
