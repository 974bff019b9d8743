"""What is let in on the wire, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from gateway import protocol
from gateway.exchange import Call, Completion, Reply
from tests.builders import completion
from tests.gateway.edge.served import HELLO, Edge

BODY = json.dumps(HELLO).encode()


class Path:
    """Counts the calls that get through; `gate` holds their answers back."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = asyncio.Event()
        self.gone = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, call: Call) -> Reply:
        self.calls += 1
        self.called.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        answer: Completion = completion()
        return answer


def head(*headers: str, first: str = "POST /v1/chat/completions HTTP/1.1") -> bytes:
    return ("\r\n".join([first, *headers]) + "\r\n\r\n").encode("latin-1")


GOOD = ("Host: x", f"Content-Length: {len(BODY)}")


@asynccontextmanager
async def connection(
    edge: Edge,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(edge.host, edge.port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(edge: Edge, data: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    answer = b""
    async with connection(edge) as (reader, writer):
        writer.write(data)
        with suppress(ConnectionError):  # it closes before it has read all
            while piece := await reader.read(65536):
                answer += piece
    return answer


REFUSED = {
    "no Host": head(f"Content-Length: {len(BODY)}"),
    "two Hosts": head(*GOOD, "Host: y"),
    "two codings": head("Host: x", "Transfer-Encoding: gzip, chunked"),
    "coding and length": head(*GOOD, "Transfer-Encoding: chunked"),
    "too many headers": head(*GOOD, *(f"X-{i}: 1" for i in range(200))),
    "an endless header": b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300_000,
    "a huge head": head(*GOOD, *(f"X-{i}: {'a' * 2000}" for i in range(60))),
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_an_ambiguous_or_endless_request_is_refused(name: str) -> None:
    path = Path()
    async with Edge(path) as edge:
        answer = await exchange(edge, REFUSED[name] + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert path.calls == 0


async def test_a_good_request_is_let_in() -> None:
    path = Path()
    async with Edge(path) as edge:
        answer = await exchange(edge, head(*GOOD, "Connection: close") + BODY)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_wish_for_another_protocol_is_ignored() -> None:
    path = Path()
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with Edge(path) as edge, connection(edge) as (reader, writer):
        writer.write(head(*GOOD, *wish) + BODY)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert path.calls == 1


async def test_two_requests_in_turn_share_a_connection() -> None:
    path = Path()
    async with Edge(path) as edge, connection(edge) as (reader, writer):
        for _ in range(2):
            writer.write(head(*GOOD) + BODY)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
    assert path.calls == 2


async def test_a_pipelined_request_ends_its_connection_and_the_call_before() -> None:
    path = Path()
    path.gate.clear()
    async with Edge(path) as edge, connection(edge) as (_, writer):
        writer.write(head(*GOOD) + BODY)
        await path.called.wait()
        writer.write(head(*GOOD) + BODY)
        await path.gone.wait()
    assert path.calls == 1


@pytest.mark.parametrize(
    "start",
    [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n", head(*GOOD) + BODY[:5]],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_client_that_takes_too_long_is_hung_up(
    monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    monkeypatch.setattr(protocol, "REQUEST_S", 0.1)
    monkeypatch.setattr(protocol, "_LOOK_S", 0.05)
    async with Edge(Path()) as edge, connection(edge) as (reader, writer):
        writer.write(start)
        with suppress(ConnectionError):
            assert await reader.read() == b""


async def test_a_long_answer_is_not_a_slow_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    monkeypatch.setattr(protocol, "_LOOK_S", 0.02)
    path = Path()
    path.gate.clear()
    async with Edge(path) as edge:
        asyncio.get_running_loop().call_later(0.3, path.gate.set)
        answer = await exchange(edge, head(*GOOD, "Connection: close") + BODY)
    assert answer.startswith(b"HTTP/1.1 200 ")
