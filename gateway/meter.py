"""Metering: what has one attempt used, as far as anybody knows?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from gateway.exchange import JSON, Call, Completion, Events
from gateway.targets import Target
from gateway.tokens import bound_completion_tokens, estimate_prompt_tokens, estimate_text_tokens
from gateway.usage import Usage


class Pace:
    """How many completion tokens per second each target gives: a moving average.

    It prices the time of an unstreamed call that was cancelled before its usage was known.
    """

    DEFAULT_TOKENS_PER_S = 50.0
    _WEIGHT = 0.2
    _KEPT = 4096

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}

    def observe(self, target: Target, tokens: int, seconds: float) -> None:
        """Learn from an attempt whose usage is exact."""
        if tokens <= 0 or seconds <= 0:
            return
        seen = tokens / seconds
        known = self._rates.pop(target.name, seen)
        self._rates[target.name] = known + self._WEIGHT * (seen - known)
        if len(self._rates) > self._KEPT:  # callers name models as they like
            del self._rates[next(iter(self._rates))]

    def tokens_per_s(self, target: Target) -> float:
        return self._rates.get(target.name, self.DEFAULT_TOKENS_PER_S)


class Meter:
    """Watches one attempt: the usage its provider reports, or else the text that came."""

    __slots__ = ("_began", "_call", "_clock", "_counted", "_pace", "_text", "_usage")

    def __init__(self, call: Call, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._pace = pace
        self._clock = clock
        self._began = clock()
        self._text: list[str] = []
        self._usage: Usage | None = None
        self._counted = False  # is the usage the count of all text that came?

    def elapsed_s(self) -> float:
        return self._clock() - self._began

    def watch(self, events: Events) -> Events:
        """A step of a `Stream`: notes usage and text, changes nothing."""
        for event in events:
            choices = event.data.get("choices") or ()
            if event.usage:
                self._usage = event.usage
            self._counted = bool(event.usage) and not choices
            for choice in choices:
                if delta := choice.get("delta"):
                    self._text.extend(_produced(delta))
        return events

    def usage(self, *, whole: bool) -> Usage:
        """The provider's count if the stream came to its end, or to the count without choices
        that ends it; else an estimate.
        """
        if self._usage is None:
            return self.estimate()
        if whole or self._counted:
            return self._usage
        seen = max(self._usage.completion_tokens, self._produced_tokens())
        return replace(self._usage, completion_tokens=seen, source="partial")

    def estimate(self) -> Usage:
        """For an attempt that ended without a usage: the prompt and what was, or may be, produced.

        Of a stream the text that came is counted. Nothing is seen of an unstreamed call, so the
        time it ran is priced at the target's pace, up to the most that the call allows.
        """
        produced = self._produced_tokens() if self._call.stream else self._likely_tokens()
        return Usage(
            prompt_tokens=estimate_prompt_tokens(self._call.body),
            completion_tokens=produced,
            source="estimated",
        )

    def estimate_of(self, completion: Completion) -> Usage:
        """For an unstreamed answer without a usage: its text is here to be counted."""
        for choice in completion.data.get("choices") or ():
            self._text.extend(_produced(choice.get("message") or {}))
        return Usage(
            prompt_tokens=estimate_prompt_tokens(self._call.body),
            completion_tokens=self._produced_tokens(),
            source="estimated",
        )

    def _produced_tokens(self) -> int:
        return estimate_text_tokens("".join(self._text))

    def _likely_tokens(self) -> int:
        target = self._call.chosen
        likely = round(self.elapsed_s() * self._pace.tokens_per_s(target))
        bound = bound_completion_tokens(self._call.body, target.model)
        return likely if bound is None else min(likely, bound)


def _produced(delta: JSON) -> Iterator[str]:
    """The texts of a delta, or of a message, that a provider bills as output."""
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        if isinstance(text := delta.get(name), str) and text:
            yield text
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        for name in ("name", "arguments"):
            if isinstance(text := function.get(name), str):
                yield text
