"""ContextWindow: who holds the prompt, who is skipped, and what is dropped when nobody does."""

from __future__ import annotations

import copy
import timeit
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import counting
from gateway.config import Alias, Context
from gateway.counting import Measure, count_prompt
from gateway.errors import ContextLengthExceeded, error_classes
from gateway.exchange import Call
from gateway.keys import VirtualKey
from gateway.record import trace_headers
from gateway.targets import Target
from gateway.trace import Skipped
from gateway.window import Truncated
from policies.context_window import ContextWindow
from tests.builders import Answers, call, completion, target
from tests.transcripts import message, transcripts

STRATEGIES = ("lenient", "strict", "oldest", "middle")


def sized(window: int | None, name: str = "fake/model", **known: Any) -> Target:
    return target(name, model={"context_window": window, **known})


def policy(strategy: Any = "lenient", **aliases: Any) -> ContextWindow:
    known = {name: Alias(targets=("fake/model",), context=own) for name, own in aliases.items()}
    return ContextWindow(Context(strategy=strategy, reserve_output_tokens=0), known)


async def passed(chosen: ContextWindow, asked: Call) -> Call:
    answers = Answers(completion())
    await chosen(asked, answers)
    (found,) = answers.calls
    return found


def talk(turns: int, words: str = "abc" * 100) -> list[dict[str, Any]]:
    """Turns of about 230 tokens each by three characters a token, then a question."""
    spoken = [message("user", words), message("assistant", words)] * turns
    return [message("system", "Be brief."), *spoken, message("user", "And now?")]


# --------------------------------------------------------------------- what is passed on as it is


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("window", [None, 500, 128_000])
async def test_what_fits_by_its_length_is_passed_on_uncounted(
    monkeypatch: pytest.MonkeyPatch, strategy: str, window: int | None
) -> None:
    monkeypatch.delattr(counting, "_Counter")
    asked = call(candidates=[sized(window)])
    assert await passed(policy(strategy), asked) is asked
    assert asked.trace.facts == []


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_what_nobody_knows_forbids_nothing(strategy: str) -> None:
    asked = call("x" * 10**6, candidates=[sized(None)])
    assert await passed(policy(strategy), asked) is asked


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_what_fits_by_its_count_is_passed_on_whole(strategy: str) -> None:
    asked = call("x" * 2_400, candidates=[sized(900)])  # more bytes than tokens in the window
    found = await passed(policy(strategy), asked)
    assert found.body is asked.body
    assert found.candidates == asked.candidates
    assert asked.trace.facts == []


# ------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_targets_that_do_not_hold_it_are_skipped_and_nothing_is_dropped(
    strategy: str,
) -> None:
    small, large, unknown = sized(500, "a/x"), sized(5_000, "b/y"), sized(None, "c/z")
    asked = call(body={"messages": talk(5)}, candidates=[small, large, unknown])
    found = await passed(policy(strategy), asked)
    assert found.candidates == (large, unknown)
    assert found.body is asked.body
    assert asked.trace.facts == [Skipped("a/x", "context_window")]


async def test_the_callers_own_limit_counts() -> None:
    targets = [sized(1_500, "a/x"), sized(3_000, "b/y")]
    body = {"messages": talk(5), "max_tokens": 1_000}
    assert [t.name for t in (await passed(policy(), call(candidates=targets))).candidates] == [
        "a/x",
        "b/y",
    ]
    found = await passed(policy(), call(body=body, candidates=targets))
    assert [t.name for t in found.candidates] == ["b/y"]


@pytest.mark.parametrize(
    ("strategy", "reasons", "expected"),
    [
        ("oldest", frozenset(), ["b/y"]),
        ("oldest", frozenset({"context_window", "timeout"}), ["b/y"]),
        ("oldest", frozenset({"timeout"}), ["a/x", "b/y"]),  # shortened for its own target
        ("strict", frozenset(), ["b/y"]),
        ("strict", frozenset({"timeout"}), None),
        ("lenient", frozenset(), ["b/y"]),
        ("lenient", frozenset({"timeout"}), ["a/x", "b/y"]),  # in doubt
    ],
)
@pytest.mark.parametrize("window", [5_000, 128_000, None])
async def test_another_aliases_target_serves_a_long_prompt_if_the_alias_says_so(
    strategy: str, reasons: frozenset[str], expected: list[str] | None, window: int | None
) -> None:
    own = sized(700, "a/x")
    other = sized(window, "b/y", tokenizer="o200k_base")
    borrowed = replace(other, fallback="large", fallback_on=reasons)
    asked = call(body={"messages": talk(5)}, candidates=[own, borrowed])
    if expected is None:
        with pytest.raises(ContextLengthExceeded):
            await policy(strategy)(asked, Answers(completion()))
        return
    found = await passed(policy(strategy), asked)
    assert [t.name for t in found.candidates] == expected
    shortened = asked.trace.last(Truncated) is not None
    assert shortened == (strategy == "oldest" and len(expected) == 2)


# -------------------------------------------------------------------------------------- strict


async def test_strict_refuses_before_a_provider_is_called() -> None:
    answers = Answers(completion())
    asked = call(body={"messages": talk(5)}, candidates=[sized(500, "a/x"), sized(700, "b/y")])
    with pytest.raises(ContextLengthExceeded) as refusal:
        await policy("strict")(asked, answers)
    assert answers.calls == []
    error = refusal.value
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert "maximum context length" in error.message
    assert "room for 700" in error.message
    assert ContextLengthExceeded in error_classes()


async def test_an_answer_that_leaves_no_room_is_named() -> None:
    asked = call("x" * 3_000, body={"max_tokens": 4_000}, candidates=[sized(4_096)])
    with pytest.raises(ContextLengthExceeded, match="room for 96 beside an answer of up to 4000"):
        await policy("strict")(asked, Answers(completion()))


async def test_lenient_leaves_what_is_in_doubt_to_the_provider() -> None:
    asked = call(body={"messages": talk(5)}, candidates=[sized(50, "a/x"), sized(900, "b/y")])
    found = await passed(policy("lenient"), asked)
    assert [t.name for t in found.candidates] == ["b/y"]
    assert found.body is asked.body
    with pytest.raises(ContextLengthExceeded):
        await policy("strict")(asked, Answers(completion()))


async def test_lenient_refuses_what_is_surely_too_long() -> None:
    known = {"tokenizer": "o200k_base"}
    answers = Answers(completion())
    words = "one two three four " * 1_000
    with pytest.raises(ContextLengthExceeded):
        await policy("lenient")(call(words, candidates=[sized(3_000, **known)]), answers)
    with pytest.raises(ContextLengthExceeded):
        await policy("lenient")(call("x" * 10_000, candidates=[sized(1_000)]), answers)
    assert answers.calls == []


# ------------------------------------------------------------------------------------ dropping


@pytest.mark.parametrize(
    ("strategy", "indices"), [("oldest", (1, 2, 3, 4)), ("middle", (5, 6, 7, 8))]
)
async def test_turns_are_dropped_to_fit_the_largest(
    strategy: str, indices: tuple[int, ...]
) -> None:
    small, large = sized(500, "a/x"), sized(700, "b/y")
    asked = call(body={"messages": talk(5), "temperature": 1}, candidates=[small, large])
    before = copy.deepcopy(asked.body)
    found = await passed(policy(strategy), asked)
    assert asked.body == before, "the caller's body was changed in place"
    messages = before["messages"]
    left = [m for index, m in enumerate(messages) if index not in indices]
    assert found.body == {**before, "messages": left}
    assert found.candidates == (large,)
    fact = asked.trace.last(Truncated)
    assert fact is not None
    assert (fact.target, fact.dropped) == ("b/y", indices)
    assert fact.kept_tokens <= 700
    header = trace_headers("c", asked.trace)["x-sluice-truncated"]
    first, last = indices[0], indices[-1]
    assert header == f"messages={first}-{last}; tokens={fact.tokens}"
    assert Skipped("a/x", "context_window") in asked.trace.facts


async def test_a_smaller_target_that_holds_the_rest_stays() -> None:
    small, large = sized(695, "a/x"), sized(700, "b/y")
    asked = call(body={"messages": talk(5)}, candidates=[small, large])
    assert (await passed(policy("oldest"), asked)).candidates == (small, large)


async def test_the_cut_is_the_same_in_whatever_order_targets_come() -> None:
    """Equal windows, and the one counts twice as many tokens as the other."""
    one, two = sized(1_000, "a/x"), sized(1_000, "b/y", characters_per_token=1.5)
    cuts = []
    for candidates in ([one, two], [two, one]):
        asked = call(body={"messages": talk(8)}, candidates=candidates)
        cuts.append((await passed(policy("oldest"), asked)).body)
    assert cuts[0] == cuts[1]


@pytest.mark.parametrize("strategy", ["oldest", "middle"])
async def test_what_must_stay_and_does_not_fit_is_refused(strategy: str) -> None:
    answers = Answers(completion())
    messages = [message("system", "x" * 3_000), message("user", "a"), message("user", "b")]
    asked = call(body={"messages": messages}, candidates=[sized(500)])
    with pytest.raises(ContextLengthExceeded):
        await policy(strategy)(asked, answers)
    assert answers.calls == []
    assert asked.trace.last(Truncated) is None


async def test_a_dry_run_finds_the_same() -> None:
    found = []
    for dry_run in (False, True):
        asked = call(body={"messages": talk(5)}, candidates=[sized(700)], dry_run=dry_run)
        after = await passed(policy("oldest"), asked)
        found.append((after.body, asked.trace.describe()))
    assert found[0] == found[1]


# ------------------------------------------------------------------------------- who says which


@pytest.mark.parametrize(
    ("general", "alias", "team", "key", "expected"),
    [
        ("oldest", None, None, None, "oldest"),
        ("strict", "oldest", None, None, "oldest"),
        ("strict", "strict", "oldest", None, "oldest"),
        ("strict", "strict", "middle", "oldest", "oldest"),
        ("oldest", "oldest", "oldest", "strict", "strict"),
        ("oldest", "strict", None, None, "strict"),
    ],
)
async def test_the_keys_word_goes_before_the_aliases(
    general: str, alias: str | None, team: str | None, key: str | None, expected: str
) -> None:
    own = VirtualKey(
        id="k",
        name="k",
        settings={"context": key} if key else {},
        team_settings={"context": team} if team else {},
    )
    asked = call(body={"messages": talk(5)}, candidates=[sized(700)], key=own)
    chosen = policy(general, m=alias, other="middle")
    if expected == "strict":
        with pytest.raises(ContextLengthExceeded):
            await chosen(asked, Answers(completion()))
    else:
        assert len((await passed(chosen, asked)).body["messages"]) < 12
        fact = asked.trace.last(Truncated)
        assert fact is not None
        assert fact.dropped[0] == 1


# ------------------------------------------------------------------------------ any transcript

TARGETS = st.lists(
    st.builds(
        lambda window, tokenizer, number: sized(window, f"p{number}/m", tokenizer=tokenizer),
        window=st.integers(50, 6_000),
        tokenizer=st.sampled_from([None, "o200k_base", "cl100k_base"]),
        number=st.integers(0, 9),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda found: found.name,
)


@settings(max_examples=150, deadline=None)
@given(transcripts(), TARGETS, st.sampled_from(["oldest", "middle"]))
async def test_any_transcript_fits_afterwards_and_stays_so(
    messages: list[dict[str, Any]], targets: list[Target], strategy: str
) -> None:
    chosen = policy(strategy)
    asked = call(body={"messages": messages}, candidates=targets)
    try:
        found = await passed(chosen, asked)
    except ContextLengthExceeded:
        return
    for at in found.candidates:
        by = Measure.of(at.model, Context())
        tokens = await count_prompt(found.body, by, window=10**6, bound=10**6)
        assert tokens.total <= (at.model.context_window or 0)
    cut = asked.trace.last(Truncated)
    if cut is None:
        assert found.body is asked.body
    else:
        left = [m for index, m in enumerate(messages) if index not in cut.dropped]
        assert found.body["messages"] == left
    again = call(body={"messages": found.body["messages"]}, candidates=targets)
    assert (await passed(chosen, again)).body == found.body
    assert again.trace.last(Truncated) is None


async def test_a_short_prompt_costs_next_to_nothing() -> None:
    chosen, asked = policy(), call(candidates=[sized(128_000, max_prompt_tokens=128_000)])
    answer = completion()

    async def answered(_: Call) -> Any:
        return answer

    def once() -> None:
        with suppress(StopIteration):
            chosen(asked, answered).send(None)

    took_us = min(timeit.repeat(once, number=2_000, repeat=5)) / 2_000 * 1e6
    assert took_us < 30, "about 2 on a machine of its own"
