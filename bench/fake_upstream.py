"""A fast fake of OpenAI's chat completions, steered by the model's name.

    fake                       an answer at once; a stream of 20 chunks at once
    fake-chunks50-gap10        a stream of 50 content chunks, 10 ms apart
    fake-delay200              200 ms before the first byte
    fake-status429             that status, always (429 and 503 with `retry-after: 1`)
    fake-chunks10-cut4         a stream whose connection is closed after 4 chunks

Parts combine. A stream ends with a `finish_reason` chunk, a usage chunk where
`stream_options.include_usage` asks for one, and `[DONE]`. One protocol class, no framework, every
answer rendered once per model: the upstream must not be what a measurement shows.

    python -m bench.fake_upstream PORT
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import Any, cast

import httptools
import uvloop

CREATED = 1_700_000_000
CONTENT = "lorem ipsum dolor sit amet " * 8
PART = re.compile(r"(chunks|gap|delay|status|cut)(\d+)")
MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]*)"')
STREAM = re.compile(rb'"stream"\s*:\s*true')
USAGE = re.compile(rb'"include_usage"\s*:\s*true')
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
PARENT_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be sent for one model name, as bytes."""

    status: int
    delay_s: float
    gap_s: float
    cut: int | None
    answer: bytes
    chunks: tuple[bytes, ...]
    end: bytes
    end_with_usage: bytes


def plan(model: str) -> Plan:
    """Render a model's answers. Unknown parts of the name mean nothing."""
    parts = {name: int(number) for name, number in PART.findall(model)}
    count = parts.get("chunks", 20)
    usage = {"prompt_tokens": 20, "completion_tokens": count, "total_tokens": 20 + count}
    finish = _event(model, [_choice({}, "stop")])
    last = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    status = parts.get("status", 200)
    return Plan(
        status=status,
        delay_s=parts.get("delay", 0) / 1000,
        gap_s=parts.get("gap", 0) / 1000,
        cut=parts.get("cut"),
        answer=_completion(model, usage) if status == 200 else _error(status),
        chunks=tuple(_event(model, [_choice(_delta(i))]) for i in range(count)),
        end=finish + last,
        end_with_usage=finish + _event(model, [], usage=usage) + last,
    )


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _delta(index: int) -> dict[str, str]:
    return {"role": "assistant", "content": ""} if index == 0 else {"content": f" word{index:03d}"}


def _envelope(model: str, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    name = {"id": "chatcmpl-fake", "object": kind, "created": CREATED, "model": model}
    return {**name, "choices": choices, "system_fingerprint": "fp_fake"}


def _event(model: str, choices: list[dict[str, Any]], **extra: object) -> bytes:
    body = {**_envelope(model, "chat.completion.chunk", choices), **extra}
    return _framed(b"data: " + json.dumps(body).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _completion(model: str, usage: dict[str, int]) -> bytes:
    message = {"role": "assistant", "content": CONTENT}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {**_envelope(model, "chat.completion", [choice]), "usage": usage}
    return _response(200, json.dumps(body).encode())


def _error(status: int) -> bytes:
    error = {"message": f"fake {status}", "type": "fake_error", "param": None, "code": None}
    return _response(status, json.dumps({"error": error}).encode())


def _response(status: int, body: bytes) -> bytes:
    again = b"retry-after: 1\r\n" if status in (429, 503) else b""
    head = b"HTTP/1.1 %d Fake\r\ncontent-type: application/json\r\n" % status
    return head + again + b"content-length: %d\r\n\r\n" % len(body) + body


class Upstream(asyncio.Protocol):
    """One connection. Requests on it come one after the other, as HTTP clients send them."""

    plans: dict[bytes, Plan] = {}  # noqa: RUF012 - shared by all connections on purpose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self.parser = httptools.HttpRequestParser(self)
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None
        self.body = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        found = MODEL.search(self.body)
        name = found[1] if found else b"fake"
        chosen = self.plans.get(name)
        if chosen is None:
            chosen = self.plans[name] = plan(name.decode())
        self._after(chosen.delay_s, self._answer, chosen)

    def _after(self, delay_s: float, act: Any, *args: Any) -> None:
        if delay_s <= 0:
            act(*args)
        else:
            self.timer = self.loop.call_later(delay_s, act, *args)

    def _answer(self, chosen: Plan) -> None:
        if chosen.status != 200 or not STREAM.search(self.body):
            self.transport.write(chosen.answer)
            return
        self.transport.write(STREAM_HEAD)
        end = chosen.end_with_usage if USAGE.search(self.body) else chosen.end
        self._chunk(chosen, end, 0, self.loop.time())

    def _chunk(self, chosen: Plan, end: bytes, index: int, due: float) -> None:
        """Send the chunk number `index`, and arrange for the next: each in a write of its own."""
        while True:
            if index == chosen.cut:
                self.transport.close()
                return
            if index == len(chosen.chunks):
                self.transport.write(end)
                return
            self.transport.write(chosen.chunks[index])
            index += 1
            due += chosen.gap_s
            if chosen.gap_s > 0:
                self.timer = self.loop.call_at(due, self._chunk, chosen, end, index, due)
                return


async def serve(port: int) -> None:
    """Listen until the parent is gone or this process is told to end."""
    parent = os.getppid()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=4096)
    gc.freeze()
    async with server:
        while os.getppid() == parent:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(PARENT_CHECK_S)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
