"""What passes along the request path: a `Call` in, a `Completion` or a `Stream` back.

A policy is one async callable. It may answer by itself, change the call, call `call_next` once,
never or often, and look at the reply:

    async def __call__(self, call: Call, call_next: Handler) -> Reply: ...

`chain()` folds policies and the upstream lanes into one `Handler`. Refusals and failures are
exceptions (`gateway.errors`). What is learned on the way is added to the call's `Trace`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import orjson

from gateway.errors import SluiceError
from gateway.frozen import frozen
from gateway.keys import VirtualKey
from gateway.targets import Target
from gateway.trace import Trace
from gateway.usage import Usage

JSON = dict[str, Any]

# ---------------------------------------------------------------------------- the call


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, as it goes down the path. Frozen: a policy passes on `call.with_(…)`.

    `body` is the caller's JSON, checked, without the `sluice` controls; it is never changed in
    place. `headers` are the caller's, lower-cased, without credentials. `received_at` is unix
    seconds; `deadline` is on the event loop's clock. `target` and `attempt` (from 1) are set by
    Retry for one attempt.
    A `dry_run` walks the same path for an explanation: nothing is sent, stored or counted.
    """

    id: str
    body: JSON
    credential: str | None = field(repr=False, default=None)
    headers: Mapping[str, str] = field(default_factory=dict)
    controls: Mapping[str, Any] = field(default_factory=dict)
    received_at: float
    deadline: float
    trace: Trace
    key: VirtualKey | None = None
    candidates: tuple[Target, ...] = ()
    target: Target | None = None
    attempt: int = 0
    dry_run: bool = False

    @property
    def model(self) -> str:
        """The model's name as the caller wrote it."""
        name: str = self.body["model"]
        return name

    @property
    def chosen(self) -> Target:
        """The target of this attempt: there is one everywhere below Retry."""
        if self.target is None:
            raise RuntimeError("no target was chosen yet")
        return self.target

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def tags(self) -> tuple[str, ...]:
        """The key's tags and the call's own."""
        own = self.controls.get("tags") or ()
        return (*(self.key.tags if self.key else ()), *own)

    @property
    def wants_usage(self) -> bool:
        """Did the caller ask for a stream's usage chunk?"""
        options = self.body.get("stream_options")
        return bool(options and options.get("include_usage"))

    def with_(self, **changes: Any) -> Call:
        """A copy with some fields replaced; the trace is shared.

        What `dataclasses.replace` does, at a seventh of its cost: there are several copies a call.
        """
        copy = object.__new__(Call)
        copy.__dict__.update(self.__dict__, **changes)
        return copy


# ------------------------------------------------------------------------- the replies


@frozen(kw_only=True)
class Completion:
    """An unstreamed answer. `raw`, the upstream's bytes, goes out unless `data` changed."""

    data: JSON
    raw: bytes | None = None
    usage: Usage | None = None

    def encode(self) -> bytes:
        return self.raw if self.raw is not None else orjson.dumps(self.data)

    def with_data(self, data: JSON) -> Completion:
        """A copy with another content; the upstream's bytes are dropped."""
        return replace(self, data=data, raw=None)


class Event:
    """One server-sent event of a stream: a chat completion chunk.

    `raw` is the upstream's event with its blank line, None once the content was changed.
    `usage` is set on the event that carries the provider's final count.
    """

    __slots__ = ("data", "raw", "usage")

    def __init__(self, data: JSON, raw: bytes | None = None, usage: Usage | None = None) -> None:
        self.data = data
        self.raw = raw
        self.usage = usage

    def encode(self) -> bytes:
        return self.raw if self.raw is not None else b"data: " + orjson.dumps(self.data) + b"\n\n"

    def with_data(self, data: JSON) -> Event:
        """A copy with another content; the upstream's bytes are dropped."""
        return Event(data, None, self.usage)


Events = list[Event]
Step = Callable[[Events], Events]


@frozen
class Ending:
    """How a stream ended: read to its end, failed with an error, or left by its reader."""

    how: Literal["finished", "failed", "abandoned"]
    error: SluiceError | None = None


class Stream:
    """A streamed answer: an async iterator over lists of events that arrived together.

    `source` yields non-empty lists and raises `SluiceError` when the stream breaks. `close`
    releases the connection. Whatever happens (finished, unread, slow reader, reader gone,
    failed at the start), the stream closes exactly once: first `close`, then the callbacks of
    `on_close`, innermost policy first. Closing runs in a task of its own, so that the
    departure of the client, which cancels the reader, does not cancel it.
    """

    __slots__ = ("_callbacks", "_close", "_closing", "_ending", "_source", "_steps")

    def __init__(self, source: AsyncIterator[Events], close: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._close = close
        self._steps: list[Step] = []
        self._callbacks: list[Callable[[Ending], Awaitable[None]]] = []
        self._ending: Ending | None = None
        self._closing: asyncio.Task[None] | None = None

    def source_by(self, wrap: Callable[[AsyncIterator[Events]], AsyncIterator[Events]]) -> None:
        """Read the events by way of `wrap(source)`, which unlike a step may wait, or end early."""
        self._source = wrap(self._source)

    def through(self, step: Step) -> None:
        """Pass every list of events through `step`, which may watch, replace or drop them."""
        self._steps.append(step)

    def on_close(self, callback: Callable[[Ending], Awaitable[None]]) -> None:
        """Run `callback` once when the stream is over, after those registered before it."""
        self._callbacks.append(callback)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Events:
        """The next events, as they arrived in one read; possibly none are left after the steps."""
        if self._ending is not None:
            raise self._ending.error or StopAsyncIteration
        try:
            events = await self._source.__anext__()
            for step in self._steps:
                events = step(events)
        except StopAsyncIteration:
            self._ending = self._ending or Ending("finished")
            await self.aclose()
            if self._ending.error is not None:  # closed by someone else, while this one waited
                raise self._ending.error from None
            raise
        except SluiceError as error:
            self._ending = self._ending or Ending("failed", error)
            await self.aclose()
            raise
        return events

    async def aclose(self, error: SluiceError | None = None) -> None:
        """Close now; an unread rest is abandoned, or failed with `error`. Idempotent."""
        if self._closing is None:
            if self._ending is None:
                self._ending = Ending("failed", error) if error else Ending("abandoned")
            self._closing = asyncio.create_task(self._finish(self._ending))
        await asyncio.shield(self._closing)

    async def _finish(self, ending: Ending) -> None:
        async with AsyncExitStack() as stack:  # runs all, last in first out, even if one raises
            for callback in reversed(self._callbacks):
                stack.push_async_callback(callback, ending)
            stack.push_async_callback(self._close)


Reply = Completion | Stream


def planned(call: Call) -> Reply:
    """What ends a dry run: a reply without content, in the form that was asked for."""
    return Stream(_no_events(), _nothing_to_close) if call.stream else Completion(data={})


async def _no_events() -> AsyncIterator[Events]:
    return
    yield []


async def _nothing_to_close() -> None: ...


def cancel_reason(error: asyncio.CancelledError) -> str:
    """Why a call was cancelled: an error's `kind`, by default that the client left."""
    return str(error.args[0]) if error.args and error.args[0] else "client_gone"


# --------------------------------------------------------------------------- the chain

Handler = Callable[[Call], Awaitable[Reply]]


class Policy(Protocol):
    """One decision about a call."""

    async def __call__(self, call: Call, call_next: Handler) -> Reply: ...


def chain(policies: Sequence[Policy], endpoint: Handler) -> Handler:
    """Fold policies around `endpoint`, the first one outermost."""
    handler = endpoint
    for policy in reversed(policies):
        handler = _link(policy, handler)
    return handler


def _link(policy: Policy, call_next: Handler) -> Handler:
    def handle(call: Call) -> Awaitable[Reply]:
        return policy(call, call_next)

    return handle
