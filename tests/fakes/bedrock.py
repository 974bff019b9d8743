"""Bedrock's Converse: `POST /model/{id}/converse` and `/converse-stream` (AWS event frames)."""

from __future__ import annotations

import binascii
import struct
from typing import Any

import orjson

JSON = dict[str, Any]

USAGE: JSON = {"inputTokens": 22, "outputTokens": 10, "totalTokens": 32}


def answer(*content: JSON | str, stop: str = "end_turn", usage: JSON | None = USAGE) -> JSON:
    blocks = [{"text": c} if isinstance(c, str) else c for c in content]
    body: JSON = {
        "metrics": {"latencyMs": 10},
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": stop,
    }
    return {**body, "usage": usage} if usage is not None else body


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One frame of `application/vnd.amazon.eventstream`: prelude, headers, payload, checksums."""
    packed = b"".join(
        bytes([len(name)])
        + name.encode()
        + b"\x07"
        + struct.pack(">H", len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    begun = prelude + struct.pack(">I", binascii.crc32(prelude)) + packed + payload
    return begun + struct.pack(">I", binascii.crc32(begun))


def event(kind: str, body: JSON) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, orjson.dumps(body))


def exception(kind: str, message: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json"}
    return frame({**headers, ":message-type": "exception"}, orjson.dumps({"message": message}))


def start() -> bytes:
    return event("messageStart", {"role": "assistant"})


def text(index: int, *texts: str) -> list[bytes]:
    deltas = [
        event("contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": text}})
        for text in texts
    ]
    return [*deltas, event("contentBlockStop", {"contentBlockIndex": index})]


def tool_use(index: int, ident: str, name: str, *parts: str) -> list[bytes]:
    begun = {"toolUse": {"toolUseId": ident, "name": name}}
    deltas = [
        event(
            "contentBlockDelta",
            {"contentBlockIndex": index, "delta": {"toolUse": {"input": part}}},
        )
        for part in parts
    ]
    return [
        event("contentBlockStart", {"contentBlockIndex": index, "start": begun}),
        *deltas,
        event("contentBlockStop", {"contentBlockIndex": index}),
    ]


def end(stop: str = "end_turn", usage: JSON | None = USAGE) -> list[bytes]:
    body: JSON = {"metrics": {"latencyMs": 1}}
    if usage is not None:
        body["usage"] = usage
    return [event("messageStop", {"stopReason": stop}), event("metadata", body)]
