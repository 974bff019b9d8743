"""Idempotency: what is an answer that can be given again, and where is it kept?

The first call under an `Idempotency-Key` claims it; what it was answered takes the claim's place.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import orjson

from gateway.errors import UpstreamFailure, error_classes
from gateway.exchange import JSON, Completion, Ending, Event, Events, Reply, Stream
from gateway.trace import Fact, Stopped, Trace
from gateway.usage import usage_from_openai

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream"

_FAILURES: dict[str, type[UpstreamFailure]] = {
    failure.kind: failure
    for failure in error_classes(UpstreamFailure)
    if issubclass(failure, UpstreamFailure)
}
_NOT_FINAL = frozenset({408, 429})

# ------------------------------------------------------------------------- what is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply or a provider's final refusal, as it is kept. `body` is JSON text.

    Of a stream it is the array of its events, of an error what the error is made of.
    """

    status: int
    content_type: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The first call under an idempotency key of a virtual key. Times are unix milliseconds.

    `owner` is the virtual key's: with its data key the answer is sealed.
    """

    key_id: str
    owner: str
    idempotency_key: str
    body_digest: str
    call_id: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What there is under a key already. Without an `answer` its call is still running."""

    body_digest: str
    answer: Answer | None


class Answers(Protocol):
    """Where claims and answers are kept."""

    async def claim(self, claim: Claim) -> Earlier | None:
        """Claim a key; None when it is this call's now. Raises `Unavailable`.

        A caller that is cancelled meanwhile leaves no claim.
        """

    async def peek(self, key_id: str, idempotency_key: str) -> Earlier | None:
        """What there is under a key, without claiming it. Raises `Unavailable`."""

    async def keep(self, claim: Claim, answer: Answer, expires_at_ms: int) -> None:
        """Put an answer in its claim's place. Never raises for a fault of the store."""

    async def release(self, claim: Claim) -> None:
        """End a claim without an answer. Never raises for a fault of the store."""


def body_digest(body: JSON) -> str:
    """The same for the same values, in whatever order they stand."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def is_final(failure: UpstreamFailure) -> bool:
    """Is this a provider's refusal that a repetition would only meet again?"""
    return 400 <= failure.status < 500 and failure.status not in _NOT_FINAL


def replayed(answer: Answer) -> Reply:
    """The answer once more. Raises the provider's error if it was one."""
    data = orjson.loads(answer.body)
    if answer.status != 200:
        raise _failure(answer.status, data)
    if answer.content_type == JSON_TYPE:
        return Completion(data=data, raw=answer.body.encode())
    return Stream(_events(data), _nothing)


def _failure(status: int, made_of: JSON) -> UpstreamFailure:
    failure = _FAILURES.get(made_of["kind"], UpstreamFailure)(
        made_of["message"], param=made_of["param"], code=made_of["code"], status=status
    )
    failure.should_retry = made_of["should_retry"]
    return failure


def _of_failure(failure: UpstreamFailure) -> bytes:
    return orjson.dumps(
        {
            "kind": failure.kind,
            "message": failure.message,
            "param": failure.param,
            "code": failure.code,
            "should_retry": failure.should_retry,
        }
    )


async def _events(chunks: list[JSON]) -> AsyncIterator[Events]:
    yield [Event(chunk, None, usage_from_openai(chunk.get("usage"))) for chunk in chunks]


async def _nothing() -> None: ...


# ------------------------------------------------------------------- what is said of it


@dataclass(frozen=True, slots=True)
class Replayed(Fact):
    """The answer is an earlier call's."""

    def describe(self) -> JSON:
        return {"fact": "replayed"}


@dataclass(frozen=True, slots=True)
class NotKept(Fact):
    """The answer was too large to be kept: a repetition will be a call of its own."""

    size_bytes: int

    def describe(self) -> JSON:
        return {"fact": "not_kept", "size_bytes": self.size_bytes}


# --------------------------------------------------------------------------- the claim


class Held:
    """A claim while its call is running. Leaving its `async with` by an exception ends it."""

    def __init__(
        self,
        claim: Claim,
        answers: Answers,
        trace: Trace,
        *,
        max_bytes: int,
        expires_at_ms: Callable[[], int],
    ) -> None:
        self._claim = claim
        self._answers = answers
        self._trace = trace
        self._max_bytes = max_bytes
        self._expires_at_ms = expires_at_ms
        self._chunks: list[bytes] = []
        self._size = 2

    def watch(self, events: Events) -> Events:
        """Listen to a stream, and remember it as long as it may be kept."""
        for event in events:
            chunk = orjson.dumps(event.data)
            self._size += len(chunk) + 1
            if self._size <= self._max_bytes:
                self._chunks.append(chunk)
        return events

    async def completed(self, completion: Completion) -> None:
        """An unstreamed answer is here."""
        body = completion.encode()
        await self._keep(200, JSON_TYPE, body, len(body))

    async def streamed(self, ending: Ending) -> None:
        """A streamed answer is over. Only a whole one is kept."""
        if ending.how == "finished" and self._trace.last(Stopped) is None:
            await self._keep(200, STREAM_TYPE, b"[%b]" % b",".join(self._chunks), self._size)
        else:
            await self._answers.release(self._claim)

    async def __aenter__(self) -> Held:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, UpstreamFailure) and is_final(error):
            body = _of_failure(error)
            await self._keep(error.status, JSON_TYPE, body, len(body))
        elif error is not None:
            await self._answers.release(self._claim)

    async def _keep(self, status: int, content_type: str, body: bytes, size: int) -> None:
        if size > self._max_bytes:
            self._trace.add(NotKept(size))
            await self._answers.release(self._claim)
            return
        answer = Answer(status=status, content_type=content_type, body=body.decode())
        await self._answers.keep(self._claim, answer, self._expires_at_ms())
