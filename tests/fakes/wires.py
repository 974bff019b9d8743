"""Every wire format that the library lane is shown with, in one table.

`WIRES[kind]` knows the provider's configuration and how its answers look, so that one test can
run over all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.exchange import Call
from gateway.targets import Credential, Limits, Model, Provider, Target
from gateway.trace import Trace
from tests.fakes import anthropic, bedrock, cohere, gemini, openai
from tests.fakes.upstream import Answer, Step, sse, sse_answer

JSON = dict[str, Any]

# litellm's own warnings, which are no concern of ours.
LITELLM_WARNINGS = [
    pytest.mark.filterwarnings(f"ignore:{message}:{category}")
    for message, category in (
        # It asks each chunk for pydantic's `model_fields` and `model_computed_fields`.
        ("Accessing the 'model_", "pydantic.warnings.PydanticDeprecatedSince211"),
        # It builds its chunks with fields of other types than it declares.
        ("Pydantic serializer warnings", "UserWarning"),
    )
]
SECRET = "sk-provider-0123456789abcdef"
QUICK = Limits(connect_s=1.0, first_event_s=0.3, idle_s=0.3, total_s=5.0)


def _frames(parts: Sequence[Any]) -> Answer:
    return Answer(tuple(parts), headers={"content-type": "application/vnd.amazon.eventstream"})


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A provider's format. `begin(*texts)` and `end` make up a whole stream."""

    kind: str
    model: str
    path: str
    streamed_path: str = ""
    base: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    key_header: str = "authorization"
    key: str = f"Bearer {SECRET}"
    document: Callable[[str], JSON]
    begin: Callable[..., list[bytes]]
    end: Callable[[], list[bytes]]
    error: bytes
    broken: bytes = b'data: {"id": "x", "choices": [oops\n\n'
    answer: Callable[[Sequence[Any]], Answer] = sse_answer

    def stream(self, *parts: bytes | Step | Any) -> Answer:
        return self.answer(parts)


_OPENAI_ERROR = sse(openai.error("The server had an error", "server_error"))


def _openai(kind: str, model: str, **more: Any) -> Wire:
    more = {"path": "/v1/chat/completions", "base": "/v1", **more}
    return Wire(
        kind=kind,
        model=model,
        document=openai.completion,
        begin=openai.chunks,
        end=openai.end,
        error=_OPENAI_ERROR,
        **more,
    )


WIRES: dict[str, Wire] = {
    wire.kind: wire
    for wire in (
        _openai("openai", "gpt-4o"),
        _openai(
            "azure",
            "gpt-4o",
            base="",
            path="/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            options={"api_version": "2024-10-21"},
            key_header="api-key",
            key=SECRET,
        ),
        _openai("mistral", "mistral-large-latest"),
        Wire(
            kind="anthropic",
            model="claude-sonnet-4-5",
            path="/v1/messages",
            key_header="x-api-key",
            key=SECRET,
            document=anthropic.message,
            begin=lambda *texts: [anthropic.start(), *anthropic.text(0, *texts)],
            end=anthropic.end,
            error=sse(anthropic.error("api_error", "Internal server error"), "error"),
        ),
        Wire(
            kind="gemini",
            model="gemini-2.5-flash",
            path="/models/gemini-2.5-flash:generateContent",
            streamed_path="/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            key_header="x-goog-api-key",
            key=SECRET,
            document=gemini.answer,
            begin=gemini.chunks,
            end=lambda: gemini.end(""),
            error=sse(gemini.error(500, "INTERNAL", "An internal error has occurred.")),
        ),
        Wire(
            kind="bedrock",
            model="anthropic.claude-3-5-sonnet-20240620-v1:0",
            path="/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
            streamed_path="/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse-stream",
            options={"aws_region_name": "us-east-1"},
            key="AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
            document=bedrock.answer,
            begin=lambda *texts: [bedrock.start(), *bedrock.text(0, *texts)],
            end=bedrock.end,
            error=bedrock.exception("internalServerException", "Internal"),
            broken=bedrock.frame({":event-type": "contentBlockDelta"}, b"{oops"),
            answer=_frames,
        ),
        Wire(
            kind="cohere_chat",
            model="command-r-plus",
            path="/v2/chat",
            document=cohere.answer,
            begin=lambda *texts: [cohere.start(), *cohere.text(*texts)],
            end=cohere.end,
            error=sse({"id": "x", "error": {"type": "server_error", "message": "failed"}}),
        ),
    )
}


def target(wire: Wire, url: str, limits: Limits = Limits(), **provider: Any) -> Target:
    """Where one attempt goes: `wire`'s provider at `url`."""
    credential = Credential("default", SECRET)
    if wire.kind == "bedrock":
        keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": SECRET}
        credential = Credential("default", settings=keys)
    given = {"options": wire.options, "limits": limits, **provider}
    return Target(
        provider=Provider(
            name=wire.kind, kind=wire.kind, lane="library", base_url=url + wire.base, **given
        ),
        model=Model(name=wire.model),
        credential=credential,
    )


def call(to: Target, *, stream: bool = False, deadline_s: float = 30.0, **body: Any) -> Call:
    """A call that has been routed to `to`."""
    messages = [{"role": "user", "content": "Hi"}]
    given = {"model": to.name, "messages": messages, **({"stream": True} if stream else {}), **body}
    return Call(
        id="call-1",
        body=given,
        received_at=time.time(),
        deadline=time.monotonic() + deadline_s,
        trace=Trace(),
        target=to,
    )
