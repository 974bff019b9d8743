"""A stream that is left, and a call that is given up: the provider's connection closes at once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import ResponseParsing
from gateway.exchange import Stream
from gateway.upstream.library import LibraryLane
from gateway.upstream.library.pump import AHEAD
from tests.fakes import openai
from tests.fakes.upstream import Answer, Step, Upstream
from tests.fakes.wires import LITELLM_WARNINGS, WIRES, Wire, call, target

pytestmark = [pytest.mark.asyncio(loop_scope="session"), *LITELLM_WARNINGS]

every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)


async def left(upstream: Upstream) -> None:
    """Within a second, the gateway has hung up."""
    await asyncio.wait_for(upstream.left.wait(), 10)


@every_wire
async def test_closing_a_stream_in_the_middle_hangs_up(lane: LibraryLane, wire: Wire):
    async with Upstream(wire.stream(*wire.begin("Hello"), Step.HANG)) as upstream:
        reply = await lane(call(target(wire, upstream.url), stream=True))
        assert isinstance(reply, Stream)
        await anext(reply)

        await reply.aclose()

        await left(upstream)


@every_wire
async def test_closing_an_unread_stream_hangs_up(lane: LibraryLane, wire: Wire):
    async with Upstream(wire.stream(*wire.begin("Hello"), Step.HANG)) as upstream:
        reply = await lane(call(target(wire, upstream.url), stream=True))
        assert isinstance(reply, Stream)

        await reply.aclose()

        await left(upstream)


@every_wire
async def test_a_reader_that_is_cancelled_hangs_up(lane: LibraryLane, wire: Wire):
    async with Upstream(wire.stream(*wire.begin("Hello"), Step.HANG)) as upstream:
        reply = await lane(call(target(wire, upstream.url), stream=True))
        assert isinstance(reply, Stream)

        async def read() -> None:
            try:
                async for _ in reply:
                    pass
            finally:
                await reply.aclose()

        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
        reader.cancel()

        await left(upstream)


@every_wire
@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
async def test_a_call_that_is_given_up_before_its_answer_hangs_up(
    lane: LibraryLane, wire: Wire, stream: bool
):
    asked = asyncio.Event()

    def script(_: object) -> Answer:
        asked.set()
        return wire.stream(Step.HANG)

    async with Upstream(script) as upstream:
        attempt = asyncio.create_task(lane(call(target(wire, upstream.url), stream=stream)))
        await asked.wait()

        attempt.cancel()

        await left(upstream)
        with pytest.raises(asyncio.CancelledError):
            await attempt


async def test_a_slow_reader_is_not_run_away_from(lane: LibraryLane):
    wire = WIRES["openai"]
    chunk = openai.chunk({"content": "x" * 20_000})
    async with Upstream(wire.stream(*[chunk] * 2_000, *wire.end())) as upstream:
        reply = await lane(call(target(wire, upstream.url), stream=True))
        assert isinstance(reply, Stream)
        sent = -1
        while sent != upstream.sent:  # until nothing moves any more
            sent = upstream.sent
            await asyncio.sleep(0.1)

        assert sent < 1_000  # what the sockets hold: 40 MB would be 2,000
        events = [event async for events in reply for event in events]
        assert len(events) == 2_002
    assert AHEAD < 100


async def test_a_slow_reader_is_no_idle_provider(lane: LibraryLane):
    wire = WIRES["openai"]
    limits = target(wire, "").provider.limits
    short = type(limits)(idle_s=0.1)
    parts = wire.begin(*(str(n) for n in range(4 * AHEAD)))
    async with Upstream(wire.stream(*parts, *wire.end())) as upstream:
        reply = await lane(call(target(wire, upstream.url, short), stream=True))
        assert isinstance(reply, Stream)
        await asyncio.sleep(0.3)  # three times the limit, in which nobody reads

        events = [event async for events in reply for event in events]

    assert events[-1].usage is not None


async def test_a_stream_that_failed_stays_failed(lane: LibraryLane):
    wire = WIRES["openai"]
    async with Upstream(wire.stream(*wire.begin("Hello"))) as upstream:
        reply = await lane(call(target(wire, upstream.url), stream=True))
        assert isinstance(reply, Stream)
        with pytest.raises(ResponseParsing):
            [events async for events in reply]
        with pytest.raises(ResponseParsing):
            await anext(reply)
        await reply.aclose()


async def test_many_streams_at_once_are_kept_apart(lane: LibraryLane):
    async def one(number: int) -> None:
        wire = list(WIRES.values())[number % len(WIRES)]
        text = f"answer {number}"
        async with Upstream(wire.stream(*wire.begin(*text), *wire.end())) as upstream:
            reply = await lane(call(target(wire, upstream.url), stream=True))
            assert isinstance(reply, Stream)
            events = [event async for events in reply for event in events]
        deltas = [choice["delta"] for event in events for choice in event.data["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == text

    await asyncio.gather(*(one(number) for number in range(28)))
