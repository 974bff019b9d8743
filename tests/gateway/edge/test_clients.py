"""What happens when a client leaves, or does not read?"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config import Calls
from gateway.exchange import Call, Ending, Events, Reply, Stream
from tests.builders import Closings, completion, text_event
from tests.gateway.edge.served import Edge, Feed, left, until

STREAM: dict[str, Any] = {"stream": True}
AT_ONCE_S = 1.0


async def within(seconds: float, event: asyncio.Event) -> float:
    """How long it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        await event.wait()
    return time.monotonic() - began


class Unstreamed:
    """A path that answers when it is told to."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.over = asyncio.Event()
        self.answer = asyncio.Event()
        self.reason: tuple[Any, ...] | None = None

    async def __call__(self, call: Call) -> Reply:
        self.entered.set()
        try:
            await self.answer.wait()
        except asyncio.CancelledError as error:
            self.reason = error.args
            raise
        finally:
            self.over.set()
        return completion()


@pytest.mark.parametrize("body", [STREAM, {}], ids=["streamed", "unstreamed"])
async def test_a_client_that_leaves_before_any_answer_cancels_its_call(
    body: dict[str, Any],
) -> None:
    path = Unstreamed()
    async with Edge(path) as edge:
        _, writer = await edge.raw(body)
        await path.entered.wait()
        writer.close()
        await within(AT_ONCE_S, path.over)
        assert path.reason == ("client_gone",)
        await left(edge)


async def test_a_client_that_leaves_after_the_head_but_before_the_first_event() -> None:
    path = Unstreamed()
    async with Edge(path, first_heartbeat_s=0.02) as edge:
        reader, writer = await edge.raw(STREAM)
        await reader.readuntil(b": heartbeat\n\n")
        writer.close()
        await within(AT_ONCE_S, path.over)
        assert path.reason == ("client_gone",)
        await left(edge)


@pytest.mark.parametrize("goodbye", ["close", "abort"])
async def test_a_client_that_leaves_in_the_middle_closes_the_stream_once(goodbye: str) -> None:
    feed, endings = Feed(), []

    async def path(call: Call) -> Reply:
        reply = await feed(call)
        assert isinstance(reply, Stream)

        async def note(ending: Ending) -> None:
            endings.append(ending.how)

        reply.on_close(note)
        return reply

    async with Edge(path) as edge:
        feed.put([text_event("a")])
        reader, writer = await edge.raw(STREAM)
        await reader.readuntil(b"\n\n\r\n")
        if goodbye == "abort":
            writer.transport.abort()
        else:
            writer.close()
        await within(AT_ONCE_S, feed.closed)
        await left(edge)
    assert feed.closings == 1
    assert endings == ["abandoned"]


async def test_a_client_that_leaves_at_the_very_start_closes_what_comes_after() -> None:
    """The path may answer in the same moment: the stream must not be left open."""
    feed = Feed()
    async with Edge(feed) as edge:
        for _ in range(10):
            feed.entered.clear()
            _, writer = await edge.raw(STREAM)
            await feed.entered.wait()
            feed.put([text_event("a")])
            writer.transport.abort()
            await left(edge)
    assert feed.closings == 10


async def test_an_unstreamed_call_may_run_to_its_end_without_its_client() -> None:
    path = Unstreamed()
    async with Edge(path, calls=Calls(client_gone="finish")) as edge:
        _, writer = await edge.raw()
        await path.entered.wait()
        writer.close()
        await asyncio.sleep(0.2)
        assert not path.over.is_set()
        assert len(edge.visits) == 1
        path.answer.set()
        await within(AT_ONCE_S, path.over)
        await left(edge)
    assert path.reason is None


async def test_a_stream_is_cancelled_whatever_is_said_of_unstreamed_calls() -> None:
    path = Unstreamed()
    async with Edge(path, calls=Calls(client_gone="finish")) as edge:
        _, writer = await edge.raw(STREAM)
        await path.entered.wait()
        writer.close()
        await within(AT_ONCE_S, path.over)
    assert path.reason == ("client_gone",)


async def test_a_client_that_leaves_within_its_body_never_was_a_call() -> None:
    path = Unstreamed()
    async with Edge(path) as edge:
        _, writer = await asyncio.open_connection(edge.host, edge.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"
        )
        await writer.drain()
        await until(lambda: len(edge.visits))
        writer.close()
        await left(edge)
    assert not path.entered.is_set()
    assert edge.refusals == []


# --------------------------------------------------------------------------- slow readers

PIECE = "x" * 2**16
MOST_BUFFERED = 12 * 2**20  # what the kernel's buffers for one connection may come to


class Endless:
    """A stream that never ends and is never slow."""

    def __init__(self) -> None:
        self.pulled_bytes = 0
        self.closings = Closings()
        self.closed = asyncio.Event()
        self.ending: Ending | None = None

    async def __call__(self, call: Call) -> Reply:
        stream = Stream(self._source(), self.closings)
        stream.on_close(self._note)
        return stream

    async def _source(self) -> AsyncIterator[Events]:
        while True:
            await asyncio.sleep(0)
            self.pulled_bytes += len(PIECE)
            yield [text_event(PIECE)]

    async def _note(self, ending: Ending) -> None:
        self.ending = ending
        self.closed.set()


async def unread(edge: Edge) -> socket.socket:
    """A streamed call whose client takes nothing; its buffer is as small as can be."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (edge.host, edge.port))
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    await loop.sock_sendall(client, head % len(body) + body)
    return client


async def test_a_slow_reader_holds_little_memory_and_its_deadline_ends_it() -> None:
    path = Endless()
    async with Edge(path, calls=Calls(deadline_s=0.5)) as edge:
        with await unread(edge):
            took = await within(3.0, path.closed)
            assert path.pulled_bytes < MOST_BUFFERED
            pulled = path.pulled_bytes
            await left(edge)
    assert took < 1.5
    assert pulled == path.pulled_bytes
    assert path.closings.count == 1
    assert path.ending is not None
    assert path.ending.how == "failed"
    assert path.ending.error is not None
    assert path.ending.error.kind == "deadline_exceeded"


async def test_a_slow_reader_that_reads_on_gets_everything() -> None:
    feed = Feed()
    async with Edge(feed) as edge:
        with await unread(edge) as client:
            feed.put(*([text_event(PIECE)] for _ in range(100)))
            feed.end()
            await feed.entered.wait()
            loop, taken = asyncio.get_running_loop(), bytearray()
            async with asyncio.timeout(20):
                while not taken.endswith(b"0\r\n\r\n"):
                    taken += await loop.sock_recv(client, 2**20)
    assert taken.count(PIECE.encode()) == 100
    assert taken.count(b"[DONE]") == 1


async def test_a_slow_reader_is_sent_no_heartbeats_on_top() -> None:
    feed = Feed()
    async with Edge(feed, first_heartbeat_s=0.01, heartbeat_s=0.01) as edge:
        with await unread(edge) as client:
            feed.put(*([text_event(PIECE)] for _ in range(200)))
            feed.end()
            await asyncio.sleep(0.5)
            loop, taken = asyncio.get_running_loop(), bytearray()
            while not taken.endswith(b"0\r\n\r\n"):
                taken += await loop.sock_recv(client, 2**20)
    assert taken.count(b": heartbeat") < 10


async def test_a_slow_reader_that_leaves_closes_the_stream() -> None:
    path = Endless()
    async with Edge(path) as edge:
        client = await unread(edge)
        await until(lambda: path.pulled_bytes > 2**17)
        client.close()
        await within(AT_ONCE_S, path.closed)
        await left(edge)
    assert path.ending is not None
    assert path.ending.how == "abandoned"


async def test_a_slow_reader_does_not_hold_up_the_drain() -> None:
    path = Endless()
    async with Edge(path) as edge:
        with await unread(edge):
            await until(lambda: path.pulled_bytes > 2**17)
            async with asyncio.timeout(4):
                await edge.visits.finish(0.1)
    assert path.closings.count == 1
    assert path.ending is not None
    assert path.ending.error is not None
    assert path.ending.error.kind == "draining"
