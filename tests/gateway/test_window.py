"""The window: what fits, and what is left of a transcript, over any transcript."""

from __future__ import annotations

import copy
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.targets import Model
from gateway.tokens import bound_prompt_tokens
from gateway.window import (
    Truncated,
    answer_tokens,
    is_surely_short,
    kept_messages,
    ranges,
    room,
    turns,
    widest_room,
)
from tests.transcripts import IMAGE, message, transcripts

# -------------------------------------------------------------------------------- the room


@pytest.mark.parametrize(
    ("known", "asked", "expected"),
    [
        ({}, None, math.inf),
        ({}, 10**6, math.inf),
        ({"max_prompt_tokens": 900}, 10**6, 900),
        ({"context_window": 10_000}, None, 9_000),  # the reserve
        ({"context_window": 10_000}, 2_500, 7_500),  # the caller's own wish
        ({"context_window": 10_000}, 0, 9_000),
        ({"context_window": 10_000, "max_completion_tokens": 300}, None, 9_700),
        ({"context_window": 10_000, "max_completion_tokens": 300}, 2_500, 9_700),
        ({"context_window": 10_000, "max_prompt_tokens": 6_000}, 2_500, 6_000),
        ({"context_window": 10_000, "max_prompt_tokens": 9_000}, 2_500, 7_500),
        ({"context_window": 1_000}, None, 500),  # never more than half for the reserve
        ({"context_window": 1_000}, 5_000, 0),
    ],
)
def test_room_is_what_three_constraints_leave(
    known: dict[str, int], asked: int | None, expected: float
) -> None:
    body = {"messages": [], **({} if asked is None else {"max_completion_tokens": asked})}
    assert room(Model(name="m", **known), answer_tokens(body), 1_000) == expected


def test_an_answers_limit_has_two_names() -> None:
    assert answer_tokens({"max_tokens": 5}) == 5
    assert answer_tokens({"max_tokens": 5, "max_completion_tokens": 7}) == 7
    assert answer_tokens({"max_tokens": 9, "max_completion_tokens": 7}) == 9
    assert answer_tokens({"max_tokens": None}) is None
    assert answer_tokens({}) is None


def test_the_widest_room_leaves_nothing_to_an_answer() -> None:
    assert widest_room(Model(name="m", context_window=100, max_prompt_tokens=80)) == 80
    assert widest_room(Model(name="m", context_window=100)) == 100
    assert widest_room(Model(name="m")) == math.inf


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.integers(0, 2_000))
def test_what_is_surely_short_is_within_the_bound(texts: list[str], most: int) -> None:
    body = {"model": "m", "messages": [message("user", text) for text in texts]}
    if is_surely_short(body, most):
        assert bound_prompt_tokens(body) <= most


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []},
        {"response_format": {"type": "text"}},
        {"functions": None},
        {"messages": [message("user", [IMAGE])]},
        {"messages": [message("user", "x", name="y")]},
        {"messages": [message("assistant", None)]},
    ],
)
def test_only_plain_text_is_surely_short(more: dict[str, Any]) -> None:
    assert is_surely_short({"messages": [message("user", "x")]}, 1_000)
    assert not is_surely_short({"messages": [message("user", "x")]} | more, 10**9)


# ------------------------------------------------------------------------------- the turns


def shown(text: str) -> list[dict[str, Any]]:
    """A transcript from letters: system, developer, user, assistant, Call of tool x, tool 1."""
    roles = {"s": "system", "d": "developer", "u": "user", "a": "assistant"}
    found = []
    for part in text.split():
        kind, ids = part[0], part[1:]
        if kind == "c":
            calls = [{"id": i, "function": {"name": "f", "arguments": "{}"}} for i in ids]
            found.append(message("assistant", None, tool_calls=calls))
        elif kind == "t":
            found.append(message("tool", "r", tool_call_id=ids))
        else:
            found.append(message(roles[kind], "x"))
    return found


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        ("u", [[0]]),
        ("s u a u", [[1, 2], [3]]),
        ("u u a u", [[0], [1, 2], [3]]),
        ("a u a", [[0], [1, 2]]),
        ("s a", [[1]]),
        ("s", []),
        ("u s a d u", [[0, 2], [4]]),
        ("u c12 t1 t2 a u", [[0, 1, 2, 3, 4], [5]]),
        ("u c12 t1 u t2 a u", [[0, 1, 2, 3, 4, 5], [6]]),  # answered late: one with the next
        ("u c1 u c2 u t1 u t2 u", [[0, 1, 2, 3, 4, 5, 6, 7], [8]]),
        ("u c1 t1 a u c1 t1 a u", [[0, 1, 2, 3], [4, 5, 6, 7], [8]]),  # one id in every turn
        ("u tx a u", [[0, 1, 2], [3]]),
    ],
)
def test_turns_begin_with_a_user_and_keep_calls_with_results(
    transcript: str, expected: list[list[int]]
) -> None:
    assert turns(shown(transcript)) == expected


@pytest.mark.parametrize(
    ("strategy", "most", "kept"),
    [
        ("oldest", 9, "0 1 2 3 4 5 6 7 8"),
        ("oldest", 8, "0 3 4 5 6 7 8"),
        ("oldest", 6, "0 5 6 7 8"),
        ("oldest", 4, "0 7 8"),
        ("oldest", 3, "0 7 8"),
        ("oldest", 2, None),
        ("middle", 9, "0 1 2 3 4 5 6 7 8"),
        ("middle", 8, "0 1 2 5 6 7 8"),
        ("middle", 6, "0 1 2 7 8"),
        ("middle", 4, "0 7 8"),
        ("middle", 2, None),
    ],
)
def test_turns_go_from_the_beginning_or_from_the_middle(
    strategy: str, most: int, kept: str | None
) -> None:
    messages = shown("s u a u a u a u a")
    found = kept_messages(messages, [1] * 9, strategy, most)
    assert found == (None if kept is None else [int(index) for index in kept.split()])


def test_a_large_turn_in_the_middle_stops_both_sides() -> None:
    messages = shown("u u u u u")
    assert kept_messages(messages, [1, 1, 50, 1, 1], "middle", 10) == [0, 1, 3, 4]
    assert kept_messages(messages, [1, 1, 50, 1, 1], "oldest", 10) == [3, 4]


@given(transcripts(), st.data(), st.sampled_from(["oldest", "middle"]))
def test_what_is_left_is_valid_fits_and_keeps_what_must_stay(
    messages: list[dict[str, Any]], data: st.DataObject, strategy: str
) -> None:
    size = len(messages)
    tokens = data.draw(st.lists(st.integers(1, 100), min_size=size, max_size=size))
    most = data.draw(st.integers(0, sum(tokens) + 10))
    before = copy.deepcopy(messages)
    kept = kept_messages(messages, tokens, strategy, most)
    assert messages == before
    must = [i for i, m in enumerate(messages) if m["role"] in ("system", "developer")]
    last = max(i for i, m in enumerate(messages) if m["role"] == "user")
    must += [i for i in range(last, size) if i not in must]
    if kept is None:
        assert sum(tokens[i] for i in must) > most
        return
    assert kept == sorted(set(kept))
    assert set(must) <= set(kept)
    assert sum(tokens[i] for i in kept) <= most
    assert (sum(tokens) > most) or kept == list(range(size)), "cut although it fitted"
    left = [messages[i] for i in kept]
    assert is_valid(left)
    again = kept_messages(left, [tokens[i] for i in kept], strategy, most)
    assert again == list(range(len(left))), "not the same when done twice"


@given(transcripts(), st.sampled_from(["oldest", "middle"]))
def test_more_room_never_keeps_less(messages: list[dict[str, Any]], strategy: str) -> None:
    tokens = [1] * len(messages)
    found = [kept_messages(messages, tokens, strategy, most) for most in range(len(messages) + 1)]
    counts = [0 if kept is None else len(kept) for kept in found]
    assert counts == sorted(counts)


def is_valid(messages: list[dict[str, Any]]) -> bool:
    """Would a provider take it? No result without its call, no call without its results."""
    open_calls: set[str] = set()
    for entry in messages:
        if entry["role"] == "tool":
            if entry["tool_call_id"] not in open_calls:
                return False
            open_calls.remove(entry["tool_call_id"])
        elif entry["role"] not in ("system", "developer") and open_calls:
            return False
        open_calls |= {call["id"] for call in entry.get("tool_calls") or ()}
    turning = [entry for entry in messages if entry["role"] not in ("system", "developer")]
    return not open_calls and turning[0]["role"] == "user"


def test_a_very_long_transcript_is_cut_at_once() -> None:
    messages = shown("u c1 t1 a " * 50_000 + "u")
    began = time.perf_counter()
    kept = kept_messages(messages, [1] * len(messages), "middle", 1_000)
    assert kept is not None
    assert len(kept) == 997
    assert time.perf_counter() - began < 5


# -------------------------------------------------------------------------------- the fact


def test_what_was_dropped_is_named() -> None:
    assert ranges([]) == []
    assert ranges([1, 2, 3, 5, 7, 8]) == ["1-3", "5", "7-8"]
    fact = Truncated("a/x", (1, 2, 3, 5), 900, 100)
    assert fact.header() == "messages=1-3,5; tokens=900"
    assert fact.describe() == {
        "fact": "truncated",
        "target": "a/x",
        "messages": "1-3,5",
        "tokens": 900,
        "kept_tokens": 100,
    }


def test_a_header_stays_short() -> None:
    header = Truncated("a/x", tuple(range(0, 20_000, 2)), 900, 100).header()
    assert len(header) < 200
    assert header.endswith(",30,...; tokens=900")
