"""Paid events: how does a stream pass on no more than is paid for, and how is it stopped?

Each event is counted at the most tokens that it can stand for. What the reserve covers passes at
once; the first event beyond it waits until the reserve was topped up. Where no budget has room for
that, every choice ends with `finish_reason` `length`, as if the caller had set a limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.exchange import JSON, Call, Event, Events
from gateway.reserve import Reserve
from gateway.tokens import CHOICE_BOUND, bound_delta_tokens
from gateway.usage import Usage

TopUp = Callable[[int], Awaitable[bool]]
"""Have the reserve cover so many tokens; False: there is no room. Raises `Unavailable`."""

_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


class PaidEvents:
    """The source of a stream that tops up. `used` is asked for the usage of one that is stopped."""

    def __init__(
        self,
        source: AsyncIterator[Events],
        call: Call,
        reserve: Reserve,
        top_up: TopUp,
        used: Callable[[], Usage],
    ) -> None:
        choices = call.body.get("n") or 1
        self._source = source
        self._call = call
        self._reserve = reserve
        self._top_up = top_up
        self._used = used
        self._waiting: Events = []
        self._tokens = CHOICE_BOUND * choices
        self._unfinished = set(range(choices))
        self._stopped = False

    def __aiter__(self) -> PaidEvents:
        return self

    async def __anext__(self) -> Events:
        if self._stopped:
            raise StopAsyncIteration
        events = self._waiting or await self._source.__anext__()
        for number, event in enumerate(events):
            tokens = self._tokens + _bound(event)
            if not self._reserve.covers(tokens):
                if number:
                    self._waiting = events[number:]
                    return events[:number]
                if not await self._top_up(tokens):
                    self._stopped = True
                    return self._last(event.data)
            self._pass(event, tokens)
        self._waiting = []
        return events

    def _pass(self, event: Event, tokens: int) -> None:
        self._tokens = tokens
        for choice in event.data.get("choices") or ():
            if choice.get("finish_reason"):
                self._unfinished.discard(choice.get("index") or 0)

    def _last(self, stopped_at: JSON) -> Events:
        """The end of a stream, in the place of an event that is not paid for."""
        head = {name: stopped_at[name] for name in _HEAD if name in stopped_at}
        wanted: JSON = {"usage": None} if self._call.wants_usage else {}
        end: JSON = {"delta": {}, "logprobs": None, "finish_reason": "length"}
        events = [
            Event({**head, "choices": [{"index": index, **end}], **wanted})
            for index in sorted(self._unfinished)
        ]
        if wanted:  # no `Event.usage`, which is what a provider has counted
            events.append(Event({**head, "choices": [], "usage": _in_chunk(self._used())}))
        return events


def _bound(event: Event) -> int:
    return sum(
        bound_delta_tokens(delta)
        for choice in event.data.get("choices") or ()
        if (delta := choice.get("delta"))
    )


def _in_chunk(usage: Usage) -> JSON:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
