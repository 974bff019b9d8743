"""Does a stream pass on no more than is paid for, and end as if it had a limit?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.exchange import JSON, Event, Events
from gateway.paidevents import PaidEvents
from gateway.reserve import Reserve, reserve_of
from gateway.tokens import CHOICE_BOUND
from gateway.usage import Usage
from tests.builders import call, price, target, text_event, usage_event

AT = target(price=price(), model={"hidden_reasoning": False, "max_completion_tokens": 10_000})
ROOM = 100
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}


class Scene:
    """A stream with `ROOM` bytes that are paid for, and the purse that it asks."""

    def __init__(self, *batches: Events, grants: bool = True, **body: Any) -> None:
        choices = body.get("n") or 1
        made = call(at=AT, stream=True, body=body)
        reserve = reserve_of(made, CHOICE_BOUND + ROOM // choices)
        assert reserve is not None
        self.reserve: Reserve = reserve
        self.grants = grants
        self.gate: asyncio.Event | None = None
        self.asked: list[int] = []
        self.read = 0
        usage = Usage(prompt_tokens=3, completion_tokens=25, source="estimated")
        self.events = PaidEvents(self._source(batches), made, reserve, self._top_up, lambda: usage)

    async def _source(self, batches: tuple[Events, ...]) -> AsyncIterator[Events]:
        for batch in batches:
            self.read += 1
            yield batch

    async def _top_up(self, tokens: int) -> bool:
        self.asked.append(tokens - CHOICE_BOUND)
        if self.gate:
            await self.gate.wait()
        if self.grants:
            self.reserve.reach(self.reserve.next(tokens))
        return self.grants

    async def all(self) -> list[Events]:
        return [events async for events in self.events]


def choice(delta: JSON | None, index: int = 0, finish: str | None = None) -> Event:
    choices = [{"index": index, "delta": delta, "finish_reason": finish}]
    return Event({**HEAD, "choices": choices})


async def test_what_is_paid_for_passes_as_it_came() -> None:
    batches = [[text_event("x" * 60), text_event("x" * 40)], [usage_event(Usage())]]
    scene = Scene(*batches)
    found = await scene.all()
    assert all(a is b for a, b in zip(found, batches, strict=True))
    assert scene.asked == []


async def test_one_byte_more_is_asked_for_first() -> None:
    scene = Scene([text_event("x" * 101)])
    assert len(await scene.all()) == 1
    assert scene.asked == [101]


async def test_what_is_paid_for_does_not_wait_for_what_is_not() -> None:
    paid, unpaid = text_event("x" * 90), text_event("y" * 20)
    scene = Scene([paid, unpaid], [text_event("z")])
    scene.gate = asyncio.Event()
    async with asyncio.timeout(10):
        assert await anext(scene.events) == [paid]
    assert scene.asked == []
    waiting = asyncio.ensure_future(anext(scene.events))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (waiting.done(), scene.asked, scene.read) == (False, [110], 1)
    scene.gate.set()
    assert await waiting == [unpaid]
    assert len(await scene.all()) == 1


async def test_a_long_answer_asks_once_for_each_part() -> None:
    scene = Scene(*([text_event("x" * 10)] for _ in range(100)))
    assert len(await scene.all()) == 100
    assert len(scene.asked) == 1_000 // (CHOICE_BOUND + ROOM)


@pytest.mark.parametrize(
    ("delta", "tokens"),
    [
        ({"content": "日本"}, 6),
        ({"reasoning_content": "hm", "content": None}, 2),
        ({"refusal": "no"}, 2),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": '{"a"'}}]}, 5),
        ({"some_day": [{"deep": ["text"]}], "flag": True}, 4),
        ({}, 0),
        (None, 0),
    ],
)
async def test_text_counts_its_bytes_wherever_it_stands(delta: JSON | None, tokens: int) -> None:
    scene = Scene([text_event("x" * (ROOM - tokens))], [choice(delta)], [text_event("!")])
    await scene.all()
    assert scene.asked == [ROOM + 1]


async def test_a_stream_without_room_ends_as_if_it_had_a_limit() -> None:
    paid = [choice({"content": "x" * 100})]
    scene = Scene(paid, [choice({"content": "y"})], [choice({"content": "z"})], grants=False)
    found = await scene.all()
    assert found[0] is paid
    (last,) = found[1]
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert last.data == {**HEAD, "choices": [end]}
    assert (len(found), scene.read, scene.asked) == (2, 2, [101])


async def test_each_choice_that_has_not_ended_is_ended() -> None:
    first = [choice({"content": "x" * 30}, 0), choice({"content": "y" * 30}, 1)]
    scene = Scene(
        first, [choice({}, 1, "stop")], [choice({"content": "z" * 99}, 0)], grants=False, n=3
    )
    ended = [event.data["choices"][0] for event in (await scene.all())[-1]]
    assert [(one["index"], one["finish_reason"]) for one in ended] == [(0, "length"), (2, "length")]


async def test_who_asked_for_the_usage_gets_what_is_charged() -> None:
    options = {"include_usage": True}
    scene = Scene([text_event("x" * 101)], grants=False, stream_options=options)
    ((end, usage),) = await scene.all()
    assert end.data["usage"] is None
    assert usage.data["choices"] == []
    assert usage.data["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 25,
        "total_tokens": 28,
    }
    assert usage.usage is None  # no provider has counted this
