"""Calls, targets and keys for tests, with what a test does not care about filled in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from gateway.errors import SluiceError
from gateway.exchange import JSON, Call, Completion, Event, Events, Reply, Stream
from gateway.keys import VirtualKey
from gateway.pricing import Price
from gateway.targets import Credential, LaneName, Limits, Model, Provider, Target
from gateway.trace import Trace
from gateway.usage import Usage

KEY = VirtualKey(id="k1", name="test", team="red")
SECRET = "sk-upstream-secret-0123456789"


def target(
    name: str = "fake/model",
    *,
    base_url: str | None = "http://127.0.0.1:1/v1",
    lane: LaneName = "native",
    kind: str = "openai",
    price: Price | None = None,
    limits: Limits = Limits(),
    model: dict[str, Any] | None = None,
    **provider: Any,
) -> Target:
    provider_name, _, model_name = name.partition("/")
    return Target(
        provider=Provider(
            name=provider_name, kind=kind, lane=lane, base_url=base_url, limits=limits, **provider
        ),
        model=Model(name=model_name, price=price, **(model or {})),
        credential=Credential("default", SECRET),
    )


def price(prompt_usd: float = 1e-6, completion_usd: float = 2e-6, **more: float) -> Price:
    found = Price.from_entry(
        {"input_cost_per_token": prompt_usd, "output_cost_per_token": completion_usd, **more}
    )
    assert found is not None
    return found


def call(
    content: str = "hello",
    *,
    body: JSON | None = None,
    stream: bool = False,
    at: Target | None = None,
    candidates: Iterable[Target] = (),
    key: VirtualKey | None = KEY,
    timeout_s: float = 30.0,
    **more: Any,
) -> Call:
    whole: JSON = {"model": "m", "messages": [{"role": "user", "content": content}], **(body or {})}
    if stream:
        whole["stream"] = True
    return Call(
        id="call_1",
        body=whole,
        received_at=time.time(),
        deadline=time.monotonic() + timeout_s,
        trace=Trace(),
        key=key,
        target=at,
        attempt=1 if at else 0,
        candidates=tuple(candidates),
        **more,
    )


def completion(text: str = "hi", usage: Usage | None = None) -> Completion:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Completion(data={"id": "chatcmpl-1", "choices": [choice]}, usage=usage)


def text_event(text: str) -> Event:
    return Event({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": text}}]})


def usage_event(usage: Usage) -> Event:
    return Event({"id": "chatcmpl-1", "choices": [], "usage": {}}, None, usage)


class Closings:
    """Counts how often a stream was closed."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


def stream(*batches: Events | SluiceError, close: Closings | None = None) -> Stream:
    """A stream of these batches; an error among them is raised in its place."""

    async def source() -> AsyncIterator[Events]:
        for batch in batches:
            if isinstance(batch, SluiceError):
                raise batch
            yield batch

    return Stream(source(), close or Closings())


class Answers:
    """A handler that replies, or raises, what it was given, in turn; the last one for good."""

    def __init__(self, *answers: Reply | BaseException) -> None:
        self._answers = list(answers)
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer
