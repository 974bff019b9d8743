"""The log: one JSON line a call. No prompt, no answer and no key is ever in it.

Calls do not wait for whoever reads it: while its pipe is full, lines are lost, and counted.
"""

from __future__ import annotations

import select
from contextlib import suppress
from io import UnsupportedOperation
from typing import BinaryIO

import orjson

from gateway.exchange import Call
from gateway.ledger import CallRecord
from gateway.trace import AttemptEnded


class CallLog:
    """A sink of the Ledger policy that writes lines to a file, unbuffered."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lost = 0
        try:
            self._watched = [out.fileno()]
        except UnsupportedOperation:  # no file: never full
            self._watched = []

    def call_ended(self, call: Call, record: CallRecord) -> None:
        ended = call.trace.all(AttemptEnded)
        usages = [fact.usage for fact in ended if fact.usage]
        costs = [fact.cost_nano_usd for fact in ended]
        line = {
            "event": "call",
            "call_id": record.call_id,
            "received_at_ms": record.received_at_ms,
            "key": record.key_id,
            "team": record.team,
            "model": record.asked_model,
            "target": record.target,
            "stream": record.stream,
            "status": record.status,
            "error": record.error,
            "attempts": record.attempts,
            "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
            "completion_tokens": sum(usage.completion_tokens for usage in usages),
            "cost_nano_usd": None if None in costs else sum(cost or 0 for cost in costs),
            "first_event_ms": record.first_event_ms,
            "duration_ms": record.duration_ms,
            "overhead_ms": record.overhead_ms,
        }
        text = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        with suppress(OSError):  # nobody takes the log any more: no reason to fail the call
            self._write(text)

    def _write(self, text: bytes) -> None:
        if self._watched and not select.select([], self._watched, [], 0)[1]:
            self._lost += 1
            return
        if self._lost:
            text = b'{"event":"lost","calls":%d}\n%s' % (self._lost, text)
            self._lost = 0
        self._out.write(text)
        self._out.flush()
