"""A provider on 127.0.0.1 that answers by script, records what arrives, and sees who hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any

import orjson


class Step(Enum):
    """What a script does besides sending bytes."""

    HANG = auto()  # send nothing more, until the client leaves
    CUT = auto()  # break the connection


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """`parts` are sent one by one as chunks; an event waits until the test sets it."""

    parts: Sequence[bytes | Step | asyncio.Event] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(body: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer((orjson.dumps(body),), status, {"content-type": "application/json", **named})


def sse(body: object, event: str | None = None) -> bytes:
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + orjson.dumps(body) + b"\n\n"


def sse_answer(parts: Sequence[bytes | Step | asyncio.Event]) -> Answer:
    return Answer(tuple(parts), headers={"content-type": "text/event-stream"})


Script = Callable[[Request], Answer]


class Upstream:
    """`async with Upstream(script) as upstream:` serves at `upstream.url`."""

    def __init__(self, script: Script | Answer) -> None:
        self.script: Script = script if callable(script) else lambda _: script
        self.requests: list[Request] = []
        self.asked = asyncio.Event()  # a request has arrived
        self.left = asyncio.Event()  # a client hung up in the middle of an answer
        self.connections = 0
        self.sent = 0  # parts of the latest answer that are written
        self.url = ""

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in asyncio.all_tasks():
            if task.get_name() == self._task_name:
                task.cancel()

    @property
    def request(self) -> Request:
        """The only request that came."""
        assert len(self.requests) == 1, f"{len(self.requests)} requests"
        return self.requests[0]

    @property
    def _task_name(self) -> str:
        return f"upstream {id(self)}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(self._task_name)
        self.connections += 1
        ahead = b""
        try:
            while (request := await _read(ahead, reader)) is not None:
                self.requests.append(request)
                self.asked.set()
                watching = asyncio.create_task(reader.read(1))  # empty when the client hangs up
                sending = asyncio.create_task(self._send(self.script(request), writer))
                try:
                    await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
                    if not sending.done():
                        self.left.set()
                        break
                    if not sending.result():
                        break
                finally:
                    sending.cancel()
                    watching.cancel()
                    await asyncio.gather(sending, watching, return_exceptions=True)
                ahead = b"" if watching.cancelled() else watching.result()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _send(self, answer: Answer, writer: asyncio.StreamWriter) -> bool:
        """Send an answer; True when the connection can be used again."""
        self.sent = 0
        if Step.CUT in answer.parts[:1]:
            writer.transport.abort()
            return False
        head = f"HTTP/1.1 {answer.status} X\r\ntransfer-encoding: chunked\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        writer.write(head.encode() + b"\r\n")
        for part in answer.parts:
            if part is Step.HANG:
                await asyncio.Event().wait()
            elif part is Step.CUT:
                writer.transport.abort()
                return False
            elif isinstance(part, asyncio.Event):
                await part.wait()
            elif isinstance(part, bytes):
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                await writer.drain()
            self.sent += 1
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(ahead: bytes, reader: asyncio.StreamReader) -> Request | None:
    try:
        head = ahead + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    pairs = (line.split(":", 1) for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)
