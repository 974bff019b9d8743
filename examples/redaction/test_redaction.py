"""Does what must not leave the house stay in it, and everything else as it was?

python -m pytest examples/redaction
"""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from examples.redaction import Redact, Redacted, is_card_number
from gateway.exchange import Call, Completion, Reply
from gateway.trace import Trace

CARD = "4111 1111 1111 1111"  # the number that card networks give for tests


def call(*messages: dict[str, Any]) -> Call:
    return Call(
        id="call_1",
        body={"model": "m", "messages": list(messages), "user": "u"},
        received_at=time.time(),
        deadline=time.monotonic() + 30,
        trace=Trace(),
    )


async def sent(asked: Call, policy: Redact | None = None) -> Call:
    """The call as it goes on after the policy."""
    passed: list[Call] = []

    async def call_next(call: Call) -> Reply:
        passed.append(call)
        return Completion(data={})

    await (policy or Redact())(asked, call_next)
    return passed[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann@example.com.", "write to [e-mail address]."),
        ("<a.b+c@mail.example.co.uk>", "<[e-mail address]>"),
        ("jürgen@müller.example", "[e-mail address]"),
        ("a@b.example,c@d.example", "[e-mail address],[e-mail address]"),
        (f"card {CARD}, thanks", "card [card number], thanks"),
        ("4111-1111-1111-1111", "[card number]"),
        ("378282246310005", "[card number]"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),  # the check digit is wrong
        ("0000 0000 0000 0000", "0000 0000 0000 0000"),
        ("order 12345 of 2026-01-02", "order 12345 of 2026-01-02"),
        ("@ann, see x@y", "@ann, see x@y"),
        ("", ""),
    ],
)
async def test_what_is_replaced(text: str, expected: str) -> None:
    passed = await sent(call({"role": "user", "content": text}))
    assert passed.body["messages"][0]["content"] == expected


async def test_parts_and_tool_results_are_read_and_other_parts_kept() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.example/ann@example.com.png"}}
    text = {"type": "text", "text": "I am ann@example.com"}
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    passed = await sent(
        call(
            {"role": "user", "content": [text, image]},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": f'{{"card": "{CARD}"}}'},
        )
    )
    user, assistant, tool = passed.body["messages"]
    assert user["content"] == [{"type": "text", "text": "I am [e-mail address]"}, image]
    assert assistant == {"role": "assistant", "content": None, "tool_calls": calls}
    assert tool["content"] == '{"card": "[card number]"}'


async def test_the_callers_body_is_never_changed_in_place() -> None:
    asked = call({"role": "user", "content": [{"type": "text", "text": "ann@example.com"}]})
    before = copy.deepcopy(asked.body)
    passed = await sent(asked)
    assert asked.body == before
    assert passed.body != before
    assert passed.body["user"] == "u"


async def test_the_trace_says_how_much_and_not_what() -> None:
    asked = call({"role": "user", "content": f"ann@example.com {CARD} bob@example.com"})
    await sent(asked)
    assert asked.trace.all(Redacted) == [Redacted(emails=2, cards=1)]
    assert "ann" not in str(asked.trace.describe())


async def test_a_call_without_either_goes_on_as_it_is() -> None:
    asked = call({"role": "user", "content": "Hello"})
    assert await sent(asked) is asked
    assert asked.trace.facts == []


async def test_each_can_be_left_out() -> None:
    asked = call({"role": "user", "content": f"ann@example.com {CARD}"})
    only_cards = await sent(asked, Redact(emails=False))
    assert only_cards.body["messages"][0]["content"] == "ann@example.com [card number]"
    only_emails = await sent(asked, Redact(cards=False))
    assert only_emails.body["messages"][0]["content"] == f"[e-mail address] {CARD}"
    with pytest.raises(ValueError, match="emails or cards"):
        Redact(emails=False, cards=False)


async def test_a_long_text_takes_no_longer_than_its_length() -> None:
    for text in ("a." * 100_000 + "@", "1 " * 100_000, "a@" + "b." * 100_000, "@" * 200_000):
        began = time.process_time()
        await sent(call({"role": "user", "content": text}))
        assert time.process_time() - began < 2.0


def test_luhns_formula() -> None:
    assert is_card_number("5555555555554444")
    assert not is_card_number("5555555555554445")
