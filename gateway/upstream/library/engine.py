"""Engine: litellm itself, set up once and asked for one attempt at a time.

Importing this module imports litellm: some seconds and 160 MB. `lane.py` does it once, after its
switches are set and before the process is ready.

Three places in litellm are replaced, each the only door to what it guards: the transport class of
all its asynchronous clients (`wire.py`), the check that precedes every download of a caller's
address (refused: it stalls the loop and would fetch in our name), and Cohere's stream reader.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NoReturn

import httpx
import litellm
from litellm._internal_context import is_internal_call
from litellm.litellm_core_utils import url_utils
from litellm.llms.custom_httpx import aiohttp_transport
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration

from gateway.errors import ResponseParsing, UpstreamFailure
from gateway.exchange import Completion, Event
from gateway.upstream.failures import failure_of
from gateway.upstream.library import cohere
from gateway.upstream.library.attempt import CURRENT, Attempt
from gateway.upstream.library.chunks import chunk_json, completion_json, usage_json
from gateway.upstream.library.wire import Wire
from gateway.usage import usage_from_openai

JSON = dict[str, Any]

# Speak OpenAI's format without being in litellm's own list of those that do.
_MORE_OPENAI_WIRE = frozenset({"openai", "azure", "mistral", "openrouter", "custom_openai"})

# litellm's state is the process's: whoever comes first sets it up, whoever goes last ends it.
_OWNERS: list[object] = []


def set_up(owner: object) -> None:
    """Make litellm quiet, strict and ours, for one more owner. Touches no network."""
    _OWNERS.append(owner)
    if len(_OWNERS) > 1:
        return
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.callbacks = []
    litellm.drop_params = False
    litellm.modify_params = False
    litellm.disable_hf_tokenizer_download = True
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize  # a row of dashes is no fault
    aiohttp_transport.LiteLLMAiohttpTransport = Wire
    url_utils.validate_url = _refuse_remote_media
    litellm.CohereV2ChatConfig.get_model_response_iterator = cohere.iterator
    # One pool for all keys on the OpenAI path; litellm would keep one for each, for an hour. What
    # it keeps for each key now is small, and must not displace other providers' pools.
    litellm.in_memory_llm_clients_cache.max_size_in_memory = 10_000
    transport = AsyncHTTPHandler.create_async_transport(ssl_context=get_ssl_configuration())
    litellm.aclient_session = httpx.AsyncClient(transport=transport, follow_redirects=False)


async def shut_down(owner: object) -> None:
    """Close every connection that litellm holds, when the last owner leaves."""
    _OWNERS.remove(owner)
    if _OWNERS:
        return
    session, litellm.aclient_session = litellm.aclient_session, None
    if session is not None:
        await session.aclose()
    await close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()


def speaks_openai(kind: str) -> bool:
    """Does this kind of provider take OpenAI's own format?"""
    return kind in _MORE_OPENAI_WIRE or kind in litellm.openai_compatible_providers


async def complete(arguments: JSON, attempt: Attempt) -> Completion:
    """One unstreamed attempt, in a task of its own. Raises `UpstreamFailure`."""
    _watch(attempt)
    try:
        response = await litellm.acompletion(**arguments)
    except Exception as error:  # noqa: BLE001  # the provider error map
        raise attempt.failure(error) from None
    if fault := attempt.fault():  # litellm turns some refusals into answers
        raise fault
    data = completion_json(response)
    if not data.get("choices"):
        raise failure_of(ResponseParsing, attempt.target)
    evidence = attempt.evidence
    if evidence is None or not evidence.reasons:
        _name_tool_calls(data)
    count = data.pop("usage", None)
    if not count or evidence is None or not evidence.counted:
        return Completion(data=data)
    data["usage"] = usage_json([response.usage])
    usage = usage_from_openai(data["usage"], data.get("service_tier"))
    return Completion(data=data, usage=usage)


async def events(arguments: JSON, attempt: Attempt) -> AsyncGenerator[Event, None]:
    """One streamed attempt, from the request to the usage chunk, in a task of its own.

    Raises `UpstreamFailure`.
    """
    _watch(attempt)
    try:
        wrapper = await litellm.acompletion(**arguments)
        if fault := attempt.fault():
            raise fault
        answer = _Answer(wrapper, attempt)
        async for event in answer.events():
            yield event
        for event in answer.ending():
            yield event
    except UpstreamFailure:
        raise
    except Exception as error:  # noqa: BLE001  # the provider error map
        raise attempt.failure(error) from None


def _watch(attempt: Attempt) -> None:
    """Let the transport know the attempt, for the rest of this task."""
    CURRENT.set(attempt)
    is_internal_call.set(True)  # no success and failure logging of litellm's: we have a ledger


def _refuse_remote_media(url: str) -> NoReturn:
    """Takes the place of litellm's check of an address that it is about to download."""
    if (attempt := CURRENT.get()) is not None:
        attempt.remote_media = True
    raise url_utils.SSRFError("remote media is not fetched")


def _name_tool_calls(data: JSON) -> None:
    """Cohere's finish reason for tool calls is lost on litellm. OpenAI's own words are kept."""
    for choice in data["choices"]:
        if choice.get("finish_reason") == "stop" and choice["message"].get("tool_calls"):
            choice["finish_reason"] = "tool_calls"


class _Answer:
    """A stream of litellm's, without what litellm adds to it."""

    def __init__(self, wrapper: Any, attempt: Attempt) -> None:
        self._wrapper = wrapper
        self._attempt = attempt
        self._counts: list[Any] = []
        self._claimed: str | None = None  # the finish reason in litellm's words
        self._head: JSON = {}  # what all chunks of the stream have in common
        self._pinned: JSON = {}  # litellm makes some of it up, and changes it on the way
        _tap(wrapper, attempt)

    async def events(self) -> AsyncIterator[Event]:
        """All events with content. Their finish reasons are held back until the end is proved."""
        try:
            async for chunk in self._wrapper:
                self._collect()
                if (event := self._event(chunk)) is not None:
                    yield event
        except _End:
            self._collect()

    def ending(self) -> list[Event]:
        """The events after the content: how it finished, and what it used."""
        attempt, evidence = self._attempt, self._attempt.evidence
        if fault := attempt.fault():
            raise fault
        proved = evidence is not None and evidence.recognised
        finished = (
            evidence.finished if evidence and proved else self._wrapper.received_finish_reason
        )
        if not finished or not self._head:
            raise failure_of(ResponseParsing, attempt.target)
        events = [Event({**self._head, "choices": [choice]}) for choice in self._finishes()]
        if evidence is not None and evidence.counted and self._counts:
            body = usage_json(self._counts)
            usage = usage_from_openai(body, self._head.get("service_tier"))
            events.append(Event({**self._head, "choices": [], "usage": body}, usage=usage))
        return events

    def _event(self, chunk: Any) -> Event | None:
        data = chunk_json(chunk)
        if not self._head:
            self._head = {name: data[name] for name in data if name != "choices"}
            self._head |= self._attempt.evidence.head if self._attempt.evidence else {}
            self._pinned = {name: self._head[name] for name in ("id", "created", "model")}
        data |= self._pinned
        for choice in data["choices"]:
            if choice["finish_reason"]:
                self._claimed, choice["finish_reason"] = choice["finish_reason"], None
        data["choices"] = [choice for choice in data["choices"] if _says_something(choice)]
        return Event(data) if data["choices"] else None

    def _finishes(self) -> list[JSON]:
        evidence = self._attempt.evidence
        reasons = evidence.reasons if evidence else {}
        if len(reasons) < 2:  # litellm's words, which are OpenAI's
            reason = self._claimed or self._wrapper.finish_reason_handler().choices[0].finish_reason
            return [_finish(index, reason) for index in (reasons or {0: ""})]
        mapped = litellm.litellm_core_utils.core_helpers.map_finish_reason
        return [_finish(index, mapped(reasons[index])) for index in sorted(reasons)]

    def _collect(self) -> None:
        """Keep the counts of what litellm has kept of the stream, and let the rest go."""
        kept: list[Any] = self._wrapper.chunks
        for chunk in kept:
            if (count := getattr(chunk, "usage", None)) is not None:
                self._counts[1:] = [count]  # the first and the latest: Gemini counts in each chunk
        kept.clear()
        self._wrapper.response_uptil_now = ""  # else each chunk costs a copy of all before it


def _says_something(choice: JSON) -> bool:
    return bool(choice["delta"]) or "logprobs" in choice


def _finish(index: int, reason: str) -> JSON:
    return {"index": index, "delta": {}, "finish_reason": reason}


class _End(BaseException):
    """The provider's stream is over. No `Exception`, so that litellm does not add its own end."""


def _tap(wrapper: Any, attempt: Attempt) -> None:
    """Learn of the end of the provider's stream before litellm does."""
    if hasattr(wrapper.completion_stream, "__aiter__"):
        wrapper.completion_stream = _Tap(wrapper.completion_stream, attempt)
    elif wrapper.completion_stream is None and wrapper.make_call is not None:
        make_call = wrapper.make_call

        async def tapped(**arguments: Any) -> _Tap:
            return _Tap(await make_call(**arguments), attempt)

        wrapper.make_call = tapped  # Gemini sends its request at the first iteration


class _Tap:
    """The provider's stream, ending in `_End`."""

    def __init__(self, stream: Any, attempt: Attempt) -> None:
        self._chunks = aiter(stream)
        self._attempt = attempt

    def __aiter__(self) -> _Tap:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise _End from None
        except Exception:
            if self._attempt.whole():
                raise _End from None
            raise
