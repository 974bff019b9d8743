"""A stream's own task: limits, backpressure, closing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from gateway.errors import ResponseParsing, UpstreamFailure, UpstreamTimeout
from gateway.exchange import Event
from gateway.targets import Limits
from gateway.upstream.library.pump import AHEAD, Pump

Source = Callable[[], AsyncGenerator[Event, None]]


class Released:
    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


def pump(source: Source, released: Released | None = None, **limits: float) -> Pump:
    return Pump(
        source(),
        Limits(**limits),  # type: ignore[arg-type]
        time.monotonic() + 60,
        lambda: UpstreamTimeout("too long"),
        released or Released(),
    )


def event(number: int = 0) -> Event:
    return Event({"n": number})


async def test_events_come_in_order_and_in_batches():
    async def source() -> AsyncGenerator[Event, None]:
        for number in range(3):
            yield event(number)

    pumped = pump(source)
    await pumped.start()
    numbers = [event.data["n"] async for events in pumped for event in events]
    await pumped.aclose()

    assert numbers == [0, 1, 2]


async def test_the_source_is_read_only_a_little_ahead():
    made = []

    async def source() -> AsyncGenerator[Event, None]:
        for number in range(10 * AHEAD):
            made.append(number)
            yield event(number)

    pumped = pump(source)
    await pumped.start()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(made) <= AHEAD
    assert len([event async for events in pumped for event in events]) == 10 * AHEAD
    await pumped.aclose()


async def test_a_failure_before_the_first_event_is_raised_by_start():
    released = Released()

    async def source() -> AsyncGenerator[Event, None]:
        raise ResponseParsing("no")
        yield event()

    with pytest.raises(ResponseParsing):
        await pump(source, released).start()
    assert released.times == 1


async def test_what_came_before_a_failure_is_still_delivered():
    async def source() -> AsyncGenerator[Event, None]:
        yield event(1)
        raise ResponseParsing("no")

    pumped = pump(source)
    await pumped.start()
    assert [e.data["n"] for e in await anext(pumped)] == [1]
    with pytest.raises(ResponseParsing):
        await anext(pumped)
    await pumped.aclose()


async def test_a_fault_of_our_own_is_no_end():
    async def source() -> AsyncGenerator[Event, None]:
        yield event()
        raise ZeroDivisionError

    pumped = pump(source)
    await pumped.start()
    await anext(pumped)
    with pytest.raises(ZeroDivisionError):
        await anext(pumped)
    await pumped.aclose()


@pytest.mark.parametrize("limit", ["first_event_s", "total_s"])
async def test_a_source_that_says_nothing_is_given_up(limit: str):
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[Event, None]:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        yield event()

    with pytest.raises(UpstreamTimeout):
        await pump(source, **{limit: 0.02}).start()
    assert closed.is_set()


@pytest.mark.parametrize("limit", ["idle_s", "total_s"])
async def test_a_source_that_pauses_too_long_is_given_up(limit: str):
    async def source() -> AsyncGenerator[Event, None]:
        yield event()
        await asyncio.Event().wait()

    pumped = pump(source, **{limit: 0.02})
    await pumped.start()
    await anext(pumped)
    with pytest.raises(UpstreamTimeout):
        await anext(pumped)
    await pumped.aclose()


async def test_the_total_limit_holds_while_events_come():
    async def source() -> AsyncGenerator[Event, None]:
        while True:
            await asyncio.sleep(0.001)
            yield event()

    pumped = pump(source, total_s=0.05)

    async def read() -> None:
        await pumped.start()
        async for _ in pumped:
            pass

    with pytest.raises(UpstreamFailure):
        await read()
    await pumped.aclose()


async def test_closing_closes_the_source_and_releases_whatever_happened():
    closed, released = asyncio.Event(), Released()

    async def source() -> AsyncGenerator[Event, None]:
        try:
            yield event()
            await asyncio.Event().wait()
        finally:
            closed.set()

    pumped = pump(source, released)
    await pumped.start()
    await pumped.aclose()
    await pumped.aclose()

    assert closed.is_set()
    assert released.times >= 1


async def test_cancelling_the_start_closes_everything():
    closed, released = asyncio.Event(), Released()

    async def source() -> AsyncGenerator[Event, None]:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        yield event()

    pumped = pump(source, released)
    starting = asyncio.create_task(pumped.start())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert closed.is_set()
    assert released.times == 1


async def test_a_source_without_an_event_is_an_error():
    async def source() -> AsyncGenerator[Event, None]:
        return
        yield event()

    with pytest.raises(EOFError):
        await pump(source).start()
