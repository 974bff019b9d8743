"""The echo lane: how does the gateway answer before any provider is configured?

An embedded model stands behind it, so that the first start works, and demonstrations and tests
have a target. It is deterministic but for its ids, and does what a client can be tried with:

- It answers with the text of the last user message; `[image]`, `[audio]` and `[file]` stand for
  what is not text. `n`, `stop`, `max_tokens` and `max_completion_tokens` are obeyed.
- Tools: for each line `call NAME {"some": "arguments"}` of that message whose NAME is one of the
  `tools`, it calls that tool; `call NAME` alone makes up the least arguments that the tool's schema
  accepts. So does a `tool_choice` of `"required"` or of one function, if no line asks. Once the
  results are there, as `tool` messages, they are its answer.
- `response_format`: for `json_schema` it answers with the least value that the schema accepts, for
  `json_object` with `{"echo": text}`, or with the text itself if that is an object.
- Its limits: 16,384 tokens an answer, 16 calls, 4 stop sequences, 32 KiB for a schema.
- Usage is counted, not made up: three tokens for each message and one for each four characters of
  it; in the answer, one for each word, or eight characters of a longer one.
- A stream brings word by word what the unstreamed answer brings at once. `echo` does not wait;
  `echo-slow` takes a twentieth of a second for each word, streamed or not.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import suppress

from gateway.errors import UpstreamTimeout
from gateway.exchange import JSON, Call, Completion, Event, Events, Reply, Stream
from gateway.upstream.echo_answer import Answer, answer_to, prompt_tokens
from gateway.upstream.failures import failure_of
from gateway.usage import usage_from_openai

MODELS = ("echo", "echo-slow")
_SLOW = "-slow"


class EchoLane:
    """Answers as the embedded model, by any name; one that ends in `-slow` is paced."""

    def __init__(self, words_per_s: float = 20.0) -> None:
        self._pause_s = 1 / words_per_s

    async def __call__(self, call: Call) -> Reply:
        answer = answer_to(call.body)
        pause_s = self._pause_s if call.chosen.model.name.endswith(_SLOW) else 0.0
        writer = _Writer(call, answer)
        if call.stream:
            source = _Paced(writer.chunks(), pause_s)
            return Stream(source, source.aclose)
        try:
            async with asyncio.timeout_at(call.deadline):
                await asyncio.sleep(pause_s * len(answer.deltas))
        except TimeoutError as error:
            raise failure_of(UpstreamTimeout, call.chosen) from error
        return writer.completion()

    async def aclose(self) -> None:
        """There is nothing to close."""


class _Writer:
    """Puts an answer into OpenAI's format."""

    def __init__(self, call: Call, answer: Answer) -> None:
        self._answer = answer
        self._choices = range(call.body.get("n") or 1)
        self._wants_usage = call.wants_usage
        self._prompt_tokens = prompt_tokens(call.body)
        self._head: JSON = {
            "id": f"chatcmpl-{secrets.token_hex(14)}",
            "object": "chat.completion.chunk" if call.stream else "chat.completion",
            "created": int(call.received_at),
            "model": call.chosen.model.name,
            "system_fingerprint": "echo",
        }

    def completion(self) -> Completion:
        usage = self._usage()
        choice = {
            "message": self._answer.message(),
            "logprobs": None,
            "finish_reason": self._answer.finish_reason,
        }
        choices = [{"index": index, **choice} for index in self._choices]
        data = {**self._head, "choices": choices, "usage": usage}
        return Completion(data=data, usage=usage_from_openai(usage))

    def chunks(self) -> Iterator[Events]:
        """The events of each step: one for each choice; the usage comes last and alone."""
        calls = "tool_calls" in (self._answer.deltas or ({},))[0]
        role = {"role": "assistant", "content": None if calls else "", "refusal": None}
        yield self._step(role)
        for delta in self._answer.deltas:
            yield self._step(delta)
        yield self._step({}, self._answer.finish_reason)
        usage = self._usage()
        yield [Event({**self._head, "choices": [], "usage": usage}, None, usage_from_openai(usage))]

    def _step(self, delta: JSON, finish_reason: str | None = None) -> Events:
        choice = {"delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # As OpenAI does: the field is there, and null, on the chunks of those who asked for it.
        usage: JSON = {"usage": None} if self._wants_usage else {}
        return [
            Event({**self._head, "choices": [{"index": index, **choice}], **usage})
            for index in self._choices
        ]

    def _usage(self) -> JSON:
        completion_tokens = len(self._answer.deltas) * len(self._choices)
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self._prompt_tokens + completion_tokens,
        }


class _Paced:
    """A stream's source that waits between its steps, and may be closed while it does.

    A class, because an async generator that is waiting cannot be closed by another task.
    """

    def __init__(self, steps: Iterator[Events], pause_s: float) -> None:
        self._steps = steps
        self._pause_s = pause_s
        self._began = False
        self._closed = asyncio.Event()

    def __aiter__(self) -> _Paced:
        return self

    async def __anext__(self) -> Events:
        if self._began:
            await self._pause()
        self._began = True
        events = None if self._closed.is_set() else next(self._steps, None)
        if events is None:
            raise StopAsyncIteration
        return events

    async def _pause(self) -> None:
        if not self._pause_s:
            # Others must have their turn: nothing else here gives way to them.
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), self._pause_s)

    async def aclose(self) -> None:
        self._closed.set()
