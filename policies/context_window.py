"""ContextWindow: which targets hold the prompt; if none does, what is dropped to fit the largest?

It looks at windows as they are configured and never at health, so that an alias cuts alike every
time. Nothing is counted where the length in bytes already proves that the prompt fits.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

from gateway.config import Alias, Context
from gateway.counting import Measure, PromptTokens, count_prompt
from gateway.errors import ContextLengthExceeded, ContextWindowExceeded
from gateway.exchange import JSON, Call, Handler, Reply
from gateway.targets import Target
from gateway.tokens import bound_prompt_tokens
from gateway.trace import Skipped
from gateway.window import (
    Truncated,
    answer_tokens,
    is_surely_short,
    kept_messages,
    room,
    widest_room,
)

Counts = dict[Measure, PromptTokens]


class ContextWindow:
    """Passes over targets that do not hold the prompt; refuses or shortens it where none does.

    The key's `context` goes before the alias's, and that before `[context] strategy`.
    """

    def __init__(self, settings: Context, aliases: Mapping[str, Alias]) -> None:
        self._settings = settings
        self._strategies = {name: a.context for name, a in aliases.items() if a.context}
        self._reserve = settings.reserve_output_tokens

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        body = call.body
        asked, reserve = answer_tokens(body), self._reserve
        rooms = [room(target.model, asked, reserve) for target in call.candidates]
        least = min(rooms)
        if is_surely_short(body, least) or (bound := bound_prompt_tokens(body)) <= least:
            return await call_next(call)
        return await call_next(await self._fitted(call, rooms, bound))

    async def _fitted(self, call: Call, rooms: Sequence[float], bound: int) -> Call:
        counts = await self._counts(call, rooms, bound)
        holding = [
            target
            for target, most in zip(call.candidates, rooms, strict=True)
            if bound <= most or counts[self._measure(target)].total <= most
        ]
        strategy = self._strategy(call)
        if strategy == "lenient" and not any(map(_may_come_first, holding)):
            holding = [t for t in call.candidates if self._may_hold(t, counts)]
        if any(map(_may_come_first, holding)):
            _skip(call, holding)
            return call.with_(candidates=tuple(holding))
        # The largest by name where there are several: whatever order the targets are tried in.
        most, target = max(
            (pair for pair in zip(rooms, call.candidates, strict=True) if _may_come_first(pair[1])),
            key=lambda pair: (pair[0], pair[1].name),
        )
        tokens = counts[self._measure(target)]
        kept = None
        if strategy in ("oldest", "middle"):
            messages, left = call.body["messages"], most - tokens.fixed
            kept = await asyncio.to_thread(kept_messages, messages, tokens.messages, strategy, left)
        if kept is None:
            raise _too_long(call, tokens.total, int(most))
        return self._shortened(call, kept, target, counts, rooms)

    def _shortened(
        self,
        call: Call,
        kept: list[int],
        largest: Target,
        counts: Counts,
        rooms: Sequence[float],
    ) -> Call:
        """The call with these messages only, for all targets that hold them."""
        messages, tokens = call.body["messages"], counts[self._measure(largest)]
        staying = set(kept)
        dropped = tuple(index for index in range(len(messages)) if index not in staying)
        rest = tokens.of(kept)
        call.trace.add(Truncated(largest.name, dropped, tokens.total - rest, rest))
        holding = [
            target
            for target, most in zip(call.candidates, rooms, strict=True)
            if counts[self._measure(target)].of(kept) <= most
        ]
        _skip(call, holding)
        body: JSON = {**call.body, "messages": [messages[index] for index in kept]}
        return call.with_(body=body, candidates=tuple(holding))

    async def _counts(self, call: Call, rooms: Sequence[float], bound: int) -> Counts:
        """The prompt as each target counts it, but for those that surely hold it."""
        unsure = [
            target
            for target, most in zip(call.candidates, rooms, strict=True)
            if bound > most or not _may_come_first(target)
        ]
        widest = (widest_room(target.model) for target in unsure)
        window = int(max(most for most in widest if most < math.inf))
        return {
            measure: await count_prompt(call.body, measure, window=window, bound=bound)
            for measure in dict.fromkeys(map(self._measure, unsure))
        }

    def _may_hold(self, target: Target, counts: Counts) -> bool:
        return counts[self._measure(target)].least <= widest_room(target.model)

    def _measure(self, target: Target) -> Measure:
        return Measure.of(target.model, self._settings)

    def _strategy(self, call: Call) -> str:
        own = call.key.setting("context") if call.key else None
        return own or self._strategies.get(call.model) or self._settings.strategy


def _may_come_first(target: Target) -> bool:
    """May a prompt's length lead here? To another alias's targets only as the alias says."""
    reasons = target.fallback_on
    return not (target.fallback and reasons) or ContextWindowExceeded.kind in reasons


def _skip(call: Call, holding: Sequence[Target]) -> None:
    for target in call.candidates:
        if target not in holding:
            call.trace.add(Skipped(target.name, "context_window"))


def _too_long(call: Call, tokens: int, most: int) -> ContextLengthExceeded:
    asked = answer_tokens(call.body)
    answer = f" beside an answer of up to {asked}" if asked else ""
    return ContextLengthExceeded(
        f"The prompt of about {tokens} tokens exceeds the maximum context length: {call.model} "
        f"has room for {most}{answer}. Shorten the messages.",
        param="messages",
    )
