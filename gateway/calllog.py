"""The log: one JSON line a call. No prompt, no answer and no key is ever in it.

Lines are gathered for a moment and written together: to ask whether there is room, and to write,
would be a tenth of what a cached answer costs. Calls do not wait for whoever reads them: while the
pipe is full, lines are lost, and counted.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from typing import BinaryIO

import orjson

from gateway.exchange import Call
from gateway.ledger import CallRecord
from gateway.trace import AttemptEnded

LATER_S = 0.05
_TOGETHER_BYTES = 4096
"""A pipe that has room at all has room for so much."""


def _at_once(write: Callable[[], None]) -> None:
    write()


class CallLog:
    """A sink of the Ledger policy that writes lines to a file. `later` calls what it is given,
    once and soon; what is not written by then, `flush` writes.
    """

    def __init__(
        self, out: BinaryIO, later: Callable[[Callable[[], None]], object] = _at_once
    ) -> None:
        self._out = out
        self._later = later
        self._lines: list[bytes] = []
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
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) == 1:
            self._later(self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        together: list[bytes] = []
        size = 0
        for line in lines:
            if together and size + len(line) > _TOGETHER_BYTES:
                self._write(together)
                together, size = [], 0
            together.append(line)
            size += len(line)
        if together:
            self._write(together)

    def _write(self, lines: list[bytes]) -> None:
        with suppress(OSError):  # nobody takes the log any more: no reason to fail a call
            if self._watched and not select.select([], self._watched, [], 0)[1]:
                self._lost += len(lines)
                return
            if self._lost:
                lines = [b'{"event":"lost","calls":%d}\n' % self._lost, *lines]
                self._lost = 0
            self._out.write(b"".join(lines))
            self._out.flush()
