"""Held: what a call, or an attempt, has of its limits until it is over."""

from __future__ import annotations

from types import TracebackType

from gateway.exchange import Completion, Ending, Reply
from gateway.limits.demand import Grant
from gateway.trace import AttemptEnded, AttemptSent, Trace


class Held:
    """Ends a grant when the reply is over, or when its `async with` is left by an exception.

    By then all that was used stands in the trace: by all attempts, or by the one of a `number`.
    Only an attempt that others listen to goes on without the caller that made it: what it uses
    nobody can say yet, and `estimated` tokens are taken for it.
    """

    def __init__(
        self, grant: Grant, trace: Trace, number: int | None = None, *, estimated: int = 0
    ) -> None:
        self._grant = grant
        self._trace = trace
        self._number = number
        self._estimated = estimated

    async def through(self, reply: Reply) -> Reply:
        """An unstreamed answer is over already, a streamed one when it closes."""
        if isinstance(reply, Completion):
            await self._end()
        else:
            reply.on_close(self._streamed)
        return reply

    async def __aenter__(self) -> Held:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            await self._end()

    async def _streamed(self, ending: Ending) -> None:
        await self._end()

    async def _end(self) -> None:
        await self._grant.end(self._used_tokens())

    def _used_tokens(self) -> int:
        ended = self._trace.all(AttemptEnded)
        over = {attempt.number for attempt in ended}
        used = sum(
            attempt.usage.total_tokens
            for attempt in ended
            if attempt.usage is not None and self._number in (None, attempt.number)
        )
        going_on = any(sent.number not in over for sent in self._trace.all(AttemptSent))
        return used + self._estimated if going_on else used
