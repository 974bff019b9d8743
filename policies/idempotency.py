"""Idempotency: has this very request been made before?

A call with an `Idempotency-Key` claims it for its virtual key. Whoever asks the same meanwhile is
given the running call's answer, and whoever asks later the kept one; neither costs anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.config import Idempotency as Settings
from gateway.errors import IdempotencyConflict, IdempotencyInProgress, InvalidRequest
from gateway.exchange import Call, Completion, Handler, Reply, planned
from gateway.flight import MOST_BOARDED, Flight, Flights, NotShared
from gateway.idempotency import Answers, Claim, Earlier, Held, Replayed, body_digest, replayed
from gateway.trace import Trace

HEADER = "idempotency-key"
MAX_LENGTH = 255
# A claim that nobody ended, since the store was out of reach, ends by itself: so long after the
# deadline of its call.
_GRACE_MS = 60_000


class Idempotency:
    """Answers repetitions of a call. Calls without the header pass by."""

    def __init__(
        self,
        settings: Settings,
        answers: Answers,
        flights: Flights | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._answers = answers
        self._now = now
        self._flights = Flights() if flights is None else flights  # an empty one is false

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        name = call.headers.get(HEADER)
        if name is None:
            return await call_next(call)
        claim = self._claim(call, name)
        place = f"{claim.key_id} {claim.body_digest} {name}".encode()
        if call.dry_run and self._flights.find(place):
            call.trace.add(Replayed())  # it would join, for an answer that nobody knows yet
            return planned(call)
        if call.dry_run:
            earlier = await self._answers.peek(claim.key_id, name)
            return _replay(call, claim, earlier) if earlier else await call_next(call)

        async def lead(call: Call) -> Reply:
            return await self._lead(call, claim, call_next)

        boarded = 0
        while True:
            joined = self._flights.find(place) if boarded < MOST_BOARDED else None
            most = self._settings.max_answer_bytes
            flight = joined or self._flights.start(place, call, lead, _landed, most)
            boarded += 1
            try:
                return await _share(flight, call)
            except NotShared:
                continue

    def _claim(self, call: Call, name: str) -> Claim:
        if not (0 < len(name) <= MAX_LENGTH and name.isascii() and name.isprintable()):
            raise InvalidRequest(
                f"The header Idempotency-Key takes 1 to {MAX_LENGTH} printable ASCII characters.",
                param=HEADER,
            )
        if call.key is None:
            raise RuntimeError("Keys comes before Idempotency")
        left_s = call.deadline - asyncio.get_running_loop().time()
        return Claim(
            key_id=call.key.id,
            owner=call.key.owner,
            idempotency_key=name,
            body_digest=body_digest(call.body),
            call_id=call.id,
            expires_at_ms=int((self._now() + left_s) * 1000) + _GRACE_MS,
        )

    async def _lead(self, call: Call, claim: Claim, call_next: Handler) -> Reply:
        earlier = await self._answers.claim(claim)
        if earlier is not None:
            return _replay(call, claim, earlier)
        async with self._held(claim, call.trace) as held:
            reply = await call_next(call)
            if isinstance(reply, Completion):
                await held.completed(reply)
            else:
                reply.through(held.watch)
                reply.on_close(held.streamed)
        return reply

    def _held(self, claim: Claim, trace: Trace) -> Held:
        settings = self._settings
        return Held(
            claim,
            self._answers,
            trace,
            max_bytes=settings.max_answer_bytes,
            expires_at_ms=lambda: int((self._now() + settings.keep_s) * 1000),
        )


async def _share(flight: Flight, call: Call) -> Reply:
    """This listener's part of a flight. Raises `NotShared`."""
    flight.join()
    reply = await (flight.streamed(call) if call.stream else flight.completed(call))
    if isinstance(reply, list):
        raise TypeError("an unstreamed call was answered with a stream")
    if flight.call is not call:
        call.trace.add(Replayed())
    return reply


def _replay(call: Call, claim: Claim, earlier: Earlier) -> Reply:
    if earlier.body_digest != claim.body_digest:
        raise IdempotencyConflict(
            "This Idempotency-Key was used for another request. Use a new one for each request."
        )
    if earlier.answer is None:
        raise IdempotencyInProgress(
            "The first request with this Idempotency-Key is still running. Try again in a moment.",
            retry_after_s=1.0,
        )
    call.trace.add(Replayed())
    return replayed(earlier.answer)


def _landed(_: Flight) -> None:
    """What has to be done then, the flight's own call has done."""
