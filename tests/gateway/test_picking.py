"""In which order are targets tried, and does each strategy keep its promise?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import Health as Settings
from gateway.config import RetryRule, Sticky, Strategy
from gateway.directory import Resolution
from gateway.errors import ContentFiltered, QuotaExceeded, RateLimited, ServerError, UpstreamFailure
from gateway.exchange import JSON, Call
from gateway.health import Attempt, Health
from gateway.keys import VirtualKey
from gateway.picking import PREFIX_CHARACTERS, Picked, Picker, followers, prompt_prefix, weighted
from gateway.targets import Credential, Target
from tests.builders import call, price, target
from tests.fakes.clock import Clock

A, B, C = target("p/a"), target("q/b"), target("r/c")
DRAWS = 10_000


class World:
    """A picker with its health, on a virtual clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.health = Health(Settings(consecutive_failures=1), clock=self.clock)
        self.picker = Picker(self.health)

    def order(
        self,
        *targets: Target,
        strategy: Strategy = "order",
        sticky: Sticky = "no",
        asked: Call | None = None,
    ) -> list[str]:
        asked = asked or call()
        found = self.picker.order(asked, resolution(strategy, sticky), targets)
        return [f"{t.model.name}{'' if t.credential.name == 'default' else 2}" for t in found]

    def fail(self, at: Target, error: UpstreamFailure | None = None) -> None:
        error = error or ServerError("x")
        with pytest.raises(type(error)), Attempt(self.health, at, 1e9):
            raise error


def resolution(strategy: Strategy = "order", sticky: Sticky = "no") -> Resolution:
    return Resolution(alias="m", grants=("m",), targets=(A,), strategy=strategy, sticky=sticky)


def asked(number: int, **more: Any) -> Call:
    return call(**more).with_(id=f"call_{number}")


def place(at: Target, *, weight: float = 1.0, priority: int = 0) -> Target:
    return replace(at, weight=weight, priority=priority)


@pytest.fixture
def world() -> World:
    return World()


# ------------------------------------------------------------------------------- strategies


def test_by_default_targets_stay_in_order_and_nothing_is_told(world: World) -> None:
    made = call()
    assert world.order(B, A, C, asked=made) == ["b", "a", "c"]
    assert made.trace.all(Picked) == []


def test_lower_priorities_come_first(world: World) -> None:
    targets = (place(A, priority=2), place(B, priority=1), place(C, priority=1))
    assert world.order(*targets) == ["b", "c", "a"]


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "lowest_latency"])
def test_a_call_id_repeats_its_choice(world: World, strategy: Strategy) -> None:
    orders = {tuple(world.order(A, B, C, strategy=strategy, asked=asked(7))) for _ in range(20)}
    assert len(orders) == 1


def test_weights_are_shares_of_the_calls(world: World) -> None:
    targets = (place(A, weight=5), place(B, weight=3), place(C, weight=2))
    firsts = Counter(
        world.order(*targets, strategy="weighted", asked=asked(number))[0]
        for number in range(DRAWS)
    )
    assert firsts["a"] / DRAWS == pytest.approx(0.5, abs=0.02)
    assert firsts["b"] / DRAWS == pytest.approx(0.3, abs=0.02)
    assert firsts["c"] / DRAWS == pytest.approx(0.2, abs=0.02)


def test_the_rest_of_a_weighted_order_is_weighted_as_well() -> None:
    targets = (place(A, weight=8), place(B, weight=1), place(C, weight=1))
    seconds = Counter(
        weighted(targets, str(n))[1].model.name
        for n in range(DRAWS)
        if weighted(targets, str(n))[0] is targets[0]
    )
    assert seconds["b"] / sum(seconds.values()) == pytest.approx(0.5, abs=0.03)


def test_without_weight_a_target_comes_last(world: World) -> None:
    targets = (place(A, weight=0), place(B, weight=1), place(C, weight=2))
    for number in range(100):
        assert world.order(*targets, strategy="weighted", asked=asked(number))[2] == "a"


def test_a_weighted_choice_tells_its_chances(world: World) -> None:
    made = call()
    targets = (place(A, weight=3), place(B, weight=1), place(C, priority=1))
    world.order(*targets, strategy="weighted", asked=made)
    (picked,) = made.trace.all(Picked)
    assert picked.shares == {"p/a": 0.75, "q/b": 0.25}
    assert picked.describe()["strategy"] == "weighted"


def test_the_least_busy_for_its_weight_comes_first(world: World) -> None:
    for name, count in (("p/a", 3), ("q/b", 2), ("r/c", 4)):
        for _ in range(count):
            world.health.load.of(name).in_flight += 1
    assert world.order(A, B, C, strategy="least_busy") == ["b", "a", "c"]
    assert world.order(A, B, place(C, weight=4), strategy="least_busy") == ["c", "b", "a"]


def test_of_two_the_faster_one_is_chosen(world: World) -> None:
    world.health.load.of("p/a").answered(0.9, world.clock.now)
    world.health.load.of("q/b").answered(0.3, world.clock.now)
    for number in range(200):
        assert world.order(A, B, strategy="lowest_latency", asked=asked(number))[0] == "b"


def test_of_three_the_slowest_is_never_first_and_the_fastest_mostly(world: World) -> None:
    for name, seconds in (("p/a", 0.9), ("q/b", 0.3), ("r/c", 0.5)):
        world.health.load.of(name).answered(seconds, world.clock.now)
    firsts = Counter(
        world.order(A, B, C, strategy="lowest_latency", asked=asked(number))[0]
        for number in range(3000)
    )
    assert set(firsts) == {"b", "c"}
    assert firsts["b"] / 3000 == pytest.approx(2 / 3, abs=0.04)


def test_attempts_in_flight_make_the_fast_one_slower(world: World) -> None:
    world.health.load.of("p/a").answered(0.9, world.clock.now)
    world.health.load.of("q/b").answered(0.3, world.clock.now)
    for _ in range(3):
        world.health.load.of("q/b").in_flight += 1
    assert world.order(A, B, strategy="lowest_latency")[0] == "a"


def test_the_cheapest_for_this_call_comes_first(world: World) -> None:
    reads = target("p/reads", price=price(1e-6, 9e-6))
    writes = target("q/writes", price=price(5e-6, 1e-6))
    unknown = target("r/unknown")
    long_prompt = call("word " * 10_000, body={"max_tokens": 1})
    long_answer = call("hi", body={"max_tokens": 10_000})
    targets = (unknown, writes, reads)
    cheap = world.order(*targets, strategy="lowest_cost", asked=long_prompt)
    assert cheap == ["reads", "writes", "unknown"]
    cheap = world.order(*targets, strategy="lowest_cost", asked=long_answer)
    assert cheap == ["writes", "reads", "unknown"]


def test_a_call_without_a_limit_is_priced_with_an_answer_of_500_tokens(world: World) -> None:
    writes = target("p/writes", price=price(1e-6, 0.0))
    reads = target("q/reads", price=price(0.0, 1e-6))
    for words, cheap in ((1_000, ["reads", "writes"]), (100, ["writes", "reads"])):
        made = call("word " * words)
        assert world.order(reads, writes, strategy="lowest_cost", asked=made) == cheap
        assert world.order(writes, reads, strategy="lowest_cost", asked=made) == cheap


def test_a_single_target_is_no_choice(world: World) -> None:
    world.fail(A)
    made = call()
    assert world.order(A, strategy="weighted", asked=made) == ["a"]
    assert made.trace.all(Picked) == []


# ----------------------------------------------------------------------------------- sticky


def test_a_key_stays_with_its_target(world: World) -> None:
    firsts = set()
    for number in range(40):
        key = VirtualKey(id=f"k{number}", name="k")
        own = {world.order(A, B, C, sticky="key", asked=asked(n, key=key))[0] for n in range(10)}
        assert len(own) == 1
        firsts |= own
    assert firsts == {"a", "b", "c"}


def test_a_new_target_takes_its_share_of_the_keys_and_moves_no_other(world: World) -> None:
    targets = [target(f"p/{name}") for name in "abcd"]
    moved = 0
    for number in range(DRAWS):
        made = asked(number, key=VirtualKey(id=f"k{number}", name="k"))
        before = world.order(*targets[:3], sticky="key", asked=made)[0]
        after = world.order(*targets, sticky="key", asked=made)[0]
        assert after in (before, "d")
        moved += after != before
    assert moved / DRAWS == pytest.approx(1 / 4, abs=0.02)


def test_a_benched_target_gives_away_its_own_keys_only(world: World) -> None:
    makings = [asked(n, key=VirtualKey(id=f"k{n}", name="k")) for n in range(300)]
    before = [world.order(A, B, C, sticky="key", asked=made)[0] for made in makings]
    world.fail(B)
    after = [world.order(A, B, C, sticky="key", asked=made)[0] for made in makings]
    for old, new in zip(before, after, strict=True):
        assert new == old if old != "b" else new in ("a", "c")


def test_a_conversation_stays_with_its_target(world: World) -> None:
    first: list[JSON] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    more = [*first, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Why"}]
    assert prompt_prefix({"messages": first}) == prompt_prefix({"messages": more})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"prompt_cache_key": "x"}, {"prompt_cache_key": "x"}, True),
        ({"prompt_cache_key": "x"}, {"prompt_cache_key": "y"}, False),
        ({}, {"messages": [{"role": "user", "content": "else"}]}, False),
        ({}, {"temperature": 1.0}, True),
    ],
)
def test_a_prompts_beginning_is_what_counts(one: JSON, other: JSON, same: bool) -> None:
    found = {prompt_prefix(call(body=body).body) for body in (one, other)}
    assert (len(found) == 1) is same


def test_the_beginning_ends_with_the_first_message_of_the_users() -> None:
    def prefix(*said: tuple[str, str]) -> str:
        return prompt_prefix({"messages": [{"role": r, "content": text} for r, text in said]})

    brief, hi = ("system", "Be brief."), ("user", "Hi")
    assert prefix(hi, ("assistant", "Yes?"), ("user", "Why")) == prefix(hi) == "user\nHi"
    assert prefix(brief, hi) == "system\nBe brief.\nuser\nHi"
    assert prefix(brief, hi) != prefix(brief, ("user", "Ho"))


def test_a_long_system_prompt_counts_alone() -> None:
    def prefix(question: str) -> str:
        system = {"role": "system", "content": "s" * PREFIX_CHARACTERS}
        parts = [{"type": "text", "text": question}]
        return prompt_prefix({"messages": [system, {"role": "user", "content": parts}]})

    assert prefix("one") == prefix("two")


# ----------------------------------------------------------------------------------- health


def test_benched_targets_come_last_and_the_first_benched_before_the_others(world: World) -> None:
    for at in (B, A):
        world.clock.now += 1
        world.fail(at)
    made = call()
    assert world.order(A, B, C, asked=made) == ["c", "b", "a"]
    assert made.trace.all(Picked)[0].benched == ("p/a", "q/b")


def test_when_all_are_benched_the_first_benched_is_tried(world: World) -> None:
    for at in (B, C, A):
        world.clock.now += 1
        world.fail(at)
    assert world.order(A, B, C) == ["b", "c", "a"]


def test_a_bench_that_is_over_gives_the_place_back(world: World) -> None:
    world.fail(A)
    assert world.order(A, B) == ["b", "a"]
    world.clock.now += 5
    assert world.order(A, B) == ["a", "b"]


def test_picking_changes_nothing(world: World) -> None:
    world.fail(A)
    world.clock.now += 5
    orders = [world.order(A, B) for _ in range(3)]
    assert orders == [["a", "b"]] * 3, "no probe was taken"


# ------------------------------------------------------------------------------ credentials

TWO = replace(A, spares=(Credential("second"),))


def test_credentials_serve_in_turn(world: World) -> None:
    firsts = Counter(world.order(TWO, asked=asked(number))[0] for number in range(2000))
    assert firsts["a"] / 2000 == pytest.approx(0.5, abs=0.05)
    assert set(firsts) == {"a", "a2"}
    assert sorted(world.order(TWO, B)[:2]) == ["a", "a2"]


def test_a_benched_credential_is_skipped_and_its_target_is_not(world: World) -> None:
    world.fail(replace(A, credential=Credential("second")), QuotaExceeded("x"))
    for number in range(20):
        assert world.order(TWO, B, asked=asked(number)) == ["a", "b", "a2"]


# -------------------------------------------------------------------------------- followers


def test_another_credential_follows_only_where_the_account_is_to_blame() -> None:
    second = replace(A, credential=Credential("second"))
    rule = RetryRule(next_target=True)
    assert followers([second, B], A, RateLimited("x"), rule) == [second, B]
    assert followers([second, B], A, ServerError("x"), rule) == [B]


def test_a_fallback_for_certain_errors_follows_those_only() -> None:
    borrowed = replace(B, fallback="m", fallback_on=frozenset({"content_filter"}))
    final, on = RetryRule(), RetryRule(next_target=True)
    assert followers([borrowed, C], A, ContentFiltered("x"), final) == [borrowed]
    assert followers([borrowed, C], A, ServerError("x"), on) == [C]


def test_such_a_fallback_stays_behind_benched_targets(world: World) -> None:
    borrowed = replace(B, fallback="m", fallback_on=frozenset({"content_filter"}))
    world.fail(A)
    assert world.picker.healthy_first([A, borrowed]) == (A, borrowed)
    assert world.picker.healthy_first([A, B]) == (B, A)
