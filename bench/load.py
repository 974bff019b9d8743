"""The load generator: one process, keep-alive connections, bounded in count and in time.

    python -m bench.load '{"port": 9000, "body": "{…}", "connections": 16, "seconds": 2, …}'

Closed loop: every connection sends its next request when the last one is answered, until `seconds`
are over or `max_requests` are sent. Open loop (`rate` > 0): requests become due at that rate and
wait for a free connection; latency counts from the moment one was due, so that a target that
stalls is not excused. `grace_s` later whatever is still open is given up and counted as an error.
Prints one line of JSON (`Result`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools
import uvloop

now = time.perf_counter
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to send. A stream that has fewer than `min_chunks` events counts as an error.

    `ramp_s`: the connections begin one after the other over this time, so that streams of equal
    length do not all start, and send, in the same moment.
    """

    port: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 1
    seconds: float = 1.0
    max_requests: int = 1_000_000
    rate: float = 0.0
    stream: bool = False
    min_chunks: int = 0
    grace_s: float = 10.0
    ramp_s: float = 0.0


COUNTER = "00000000"
"""Where it stands in a body, each request has a number of its own: no answer is in a cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came back. Latencies are milliseconds; `first` is the body's first byte."""

    requests: int
    chunks: int
    errors: dict[str, int]
    seconds: float
    cpu_ms: float
    latency_p50: float | None
    latency_p99: float | None
    first_p50: float | None
    first_p99: float | None


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at most."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[str | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def ask(self, request: bytes) -> asyncio.Future[str | None]:
        """Send; the future's result is None for a whole answer with status 200, else the error."""
        self.answered = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.first_at = 0.0
        self.chunks = 0
        self.tail = b""
        self.failed = False
        if self.transport is None or self.transport.is_closing():
            self._finish("closed")
        else:
            self.transport.write(request)
        return self.answered or _resolved("closed")

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("not_http")
            self.close()

    def on_body(self, data: bytes) -> None:
        if not self.tail:
            self.first_at = now()
        # Events end with a blank line, which may be split between two reads.
        self.chunks += data.count(b"\n\n")
        if self.tail[-1:] == b"\n" and data[:1] == b"\n":
            self.chunks += 1
        if b'"error"' in data:
            self.failed = True
        self.tail = (self.tail + data)[-len(DONE) :]

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status != 200:
            self._finish(f"status_{status}")
        else:
            self._finish("error_in_body" if self.failed else None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("closed")

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _finish(self, error: str | None) -> None:
        answered, self.answered = self.answered, None
        if answered is not None and not answered.done():
            answered.set_result(error)


def _resolved(error: str) -> asyncio.Future[str | None]:
    future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    future.set_result(error)
    return future


class Load:
    """The connections, the requests that are due, and what came of them."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.parts = _request(spec).partition(COUNTER.encode())
        self.asked = time.time_ns() // 1000  # no two runs begin with the same
        self.left = spec.max_requests
        self.requests = 0
        self.chunks = 0
        self.errors: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.connections: list[Connection] = []
        self.due: asyncio.Queue[float | None] = asyncio.Queue()

    async def run(self) -> float:
        """Returns how long it took, in seconds."""
        loop = asyncio.get_running_loop()
        for _ in range(self.spec.connections):
            self.connections.append(await self._connect())
        give_up = loop.call_later(self.spec.seconds + self.spec.grace_s, self._give_up)
        started = now()
        self.end = started + self.spec.seconds
        ticker = asyncio.ensure_future(self._tick()) if self.spec.rate else None
        await asyncio.gather(*(self._work(i) for i in range(self.spec.connections)))
        took = now() - started
        give_up.cancel()
        if ticker is not None:
            await ticker
        for connection in self.connections:
            connection.close()
        return took

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.spec.port)
        return connection

    async def _tick(self) -> None:
        started = now()
        total = min(self.left, int(self.spec.rate * self.spec.seconds))
        for i in range(total):
            due = started + i / self.spec.rate
            if due > now():
                await asyncio.sleep(due - now())
            self.due.put_nowait(due)
        for _ in range(self.spec.connections):
            self.due.put_nowait(None)

    async def _turns(self) -> AsyncIterator[float]:
        """The moments at which one worker's requests are due."""
        if self.spec.rate:
            while (due := await self.due.get()) is not None:
                yield due
            return
        while now() < self.end and self.left > 0:
            self.left -= 1
            yield now()

    async def _work(self, index: int) -> None:
        await asyncio.sleep(index * self.spec.ramp_s / self.spec.connections)
        async for due in self._turns():
            connection = self.connections[index]
            error = await connection.ask(self._next_request())
            self._count(connection, due, error)
            if error is not None and now() < self.end:
                await self._reconnect(index)

    async def _reconnect(self, index: int) -> None:
        """After an error: a pause, so that a dead target is not hammered, and a new connection."""
        self.connections[index].close()
        await asyncio.sleep(0.05)
        try:
            self.connections[index] = await self._connect()
        except OSError:
            self.errors["connect"] += 1

    def _count(self, connection: Connection, due: float, error: str | None) -> None:
        chunks = connection.chunks - 1 if self.spec.stream else 0
        if error is None and self.spec.stream:
            if connection.tail != DONE:
                error = "no_done"
            elif chunks < self.spec.min_chunks:
                error = "short_stream"
        if error is not None:
            self.errors[error] += 1
            return
        self.requests += 1
        self.chunks += chunks
        self.latencies.append(now() - due)
        self.firsts.append(connection.first_at - due)

    def _next_request(self) -> bytes:
        before, counter, after = self.parts
        if not counter:
            return before
        self.asked += 1
        return before + b"%08d" % (self.asked % 10**8) + after

    def _give_up(self) -> None:
        self.end = 0.0
        for connection in self.connections:
            connection._finish("unanswered")
            connection.close()


def _request(spec: Spec) -> bytes:
    body = spec.body.encode()
    headers = {"host": "127.0.0.1", "content-type": "application/json", **spec.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def percentile_ms(values: list[float], share: float) -> float | None:
    """Nearest rank, in milliseconds; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1000, 4)


async def main(spec: Spec) -> Result:
    gc.disable()
    load = Load(spec)
    cpu = time.process_time()
    seconds = await load.run()
    return Result(
        requests=load.requests,
        chunks=load.chunks,
        errors=dict(load.errors),
        seconds=round(seconds, 4),
        cpu_ms=round((time.process_time() - cpu) * 1000, 2),
        latency_p50=percentile_ms(load.latencies, 0.50),
        latency_p99=percentile_ms(load.latencies, 0.99),
        first_p50=percentile_ms(load.firsts, 0.50),
        first_p99=percentile_ms(load.firsts, 0.99),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(main(Spec(**json.loads(sys.argv[1])))))))
