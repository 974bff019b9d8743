"""What has an attempt used, as far as anybody knows?"""

from __future__ import annotations

import pytest

from gateway.exchange import JSON, Event
from gateway.meter import Meter, Pace
from gateway.tokens import estimate_prompt_tokens
from gateway.usage import Usage
from tests.builders import call, target, text_event, usage_event
from tests.fakes.clock import Clock

TARGET = target()
USAGE = Usage(prompt_tokens=9, cached_tokens=3, completion_tokens=6, reasoning_tokens=2)


def meter(*, stream: bool = True, body: JSON | None = None, clock: Clock | None = None) -> Meter:
    return Meter(call(at=TARGET, stream=stream, body=body), Pace(), clock or Clock())


def delta_event(**delta: object) -> Event:
    return Event({"choices": [{"index": 0, "delta": delta}]})


def test_a_count_of_the_provider_is_taken_as_it_is() -> None:
    found = meter()
    found.watch([text_event("a")])
    found.watch([usage_event(USAGE)])
    assert found.usage(whole=True) is USAGE


def test_of_several_counts_the_last_one_holds() -> None:
    found = meter()
    found.watch([usage_event(Usage(prompt_tokens=1)), usage_event(USAGE)])
    assert found.usage(whole=True) is USAGE


@pytest.mark.parametrize(("text", "completion"), [("x" * 8, 6), ("x" * 400, 100)])
def test_a_count_before_a_cut_is_partial_and_never_less_than_what_came(
    text: str, completion: int
) -> None:
    found = meter()
    found.watch([usage_event(USAGE), text_event(text)])
    usage = found.usage(whole=False)
    assert (usage.source, usage.completion_tokens) == ("partial", completion)
    assert (usage.prompt_tokens, usage.cached_tokens) == (9, 3)


def test_the_last_count_holds_even_if_its_reader_left_before_the_end() -> None:
    found = meter()
    found.watch([text_event("x" * 400), usage_event(USAGE)])
    assert found.usage(whole=False) is USAGE


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x" * 40},
        {"reasoning_content": "x" * 40},
        {"reasoning": "x" * 40},
        {"refusal": "x" * 40},
        {"tool_calls": [{"index": 0, "function": {"name": "x" * 8, "arguments": "x" * 32}}]},
        {"tool_calls": [{"function": {"arguments": "x" * 40}}], "content": None},
        {"content": "x" * 20, "reasoning_content": "x" * 20},
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_without_a_count_all_text_that_came_is_estimated(delta: JSON, whole: bool) -> None:
    found = meter()
    found.watch([delta_event(**delta)])
    usage = found.usage(whole=whole)
    assert (usage.completion_tokens, usage.source) == (10, "estimated")
    assert usage.prompt_tokens == estimate_prompt_tokens(call().body)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": {"content": ["x"], "tool_calls": None}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": None}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"name": None}}]}}]},
    ],
)
def test_an_event_without_text_adds_nothing(data: JSON) -> None:
    found = meter()
    event = Event(data, b"raw")
    assert found.watch([event]) == [event]
    assert found.usage(whole=True).completion_tokens == 0
    assert event.raw == b"raw"


# ----------------------------------------------------------------------- unstreamed calls


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 125),
        ({"max_tokens": 1000}, 125),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 60, "n": 2}, 120),
    ],
)
def test_the_time_of_an_unstreamed_call_is_priced_at_the_targets_pace(
    body: JSON, expected: int
) -> None:
    clock = Clock()
    found = meter(stream=False, body=body, clock=clock)
    clock.now += 2.5
    assert found.elapsed_s() == 2.5
    usage = found.estimate()
    assert (usage.completion_tokens, usage.source) == (expected, "estimated")


def test_a_pace_moves_towards_what_is_seen() -> None:
    pace = Pace()
    assert pace.tokens_per_s(TARGET) == Pace.DEFAULT_TOKENS_PER_S
    pace.observe(TARGET, 100, 1.0)
    assert pace.tokens_per_s(TARGET) == 100
    pace.observe(TARGET, 200, 1.0)
    assert pace.tokens_per_s(TARGET) == pytest.approx(120)
    assert pace.tokens_per_s(target("other/model")) == Pace.DEFAULT_TOKENS_PER_S


def test_the_paces_that_were_not_seen_for_longest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Pace, "_KEPT", 2)
    pace = Pace()
    for name in ("p/a", "p/b", "p/a", "p/c"):
        pace.observe(target(name), 100, 1.0)
    seen = [pace.tokens_per_s(target(name)) for name in ("p/a", "p/b", "p/c")]
    assert seen == [100, Pace.DEFAULT_TOKENS_PER_S, 100]


@pytest.mark.parametrize(("tokens", "seconds"), [(0, 1.0), (5, 0.0), (-1, 1.0)])
def test_a_pace_learns_nothing_from_nothing(tokens: int, seconds: float) -> None:
    pace = Pace()
    pace.observe(TARGET, tokens, seconds)
    assert pace.tokens_per_s(TARGET) == Pace.DEFAULT_TOKENS_PER_S
