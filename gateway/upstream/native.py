"""The native lane: a provider that speaks OpenAI's wire format gets the caller's JSON.

Only `model` is replaced, and a stream is asked for its usage. Answers go back as the provider's
bytes; they are parsed only for usage, finish reasons and errors. One pooled aiohttp client
serves all providers of the lane: identity encoding, no redirects, no cookies, no environment
proxies unless the provider asks for them, and caps on what an upstream may send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

import aiohttp
import orjson
from yarl import URL

from gateway import __version__
from gateway.errors import (
    ConnectionFailed,
    InvalidConfiguration,
    ResponseParsing,
    UpstreamFailure,
    UpstreamTimeout,
)
from gateway.exchange import JSON, Call, Completion, Events, Reply, Stream
from gateway.targets import Credential, Limits, Provider, Target
from gateway.upstream.chunks import TOO_LARGE, TRUNCATED, UNPARSABLE, ChunkReader, completion
from gateway.upstream.failures import failure_from_response

MAX_ERROR_BYTES = 64 * 1024
_KEEPALIVE_S = 30.0
_HEAD_LIMIT = 16 * 1024
_END_OF_BODY_S = 0.05


class Destination(NamedTuple):
    """What every request to one provider with one credential shares."""

    chat_url: URL
    models_url: URL
    headers: Mapping[str, str]


class NativeLane:
    """Forwards calls to OpenAI-format providers."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._destinations: dict[tuple[str, str | None, str], Destination] = {}

    async def __call__(self, call: Call) -> Reply:
        target = call.chosen
        limits = target.provider.limits
        now = asyncio.get_running_loop().time()
        ends_at = min(now + limits.total_s, call.deadline)
        first_by = min(now + limits.first_event_s, ends_at) if call.stream else ends_at
        try:
            async with asyncio.timeout_at(first_by):
                response = await self._send(call, target)
                if not call.stream:
                    return await _completion(response, target)
                return await _stream(response, target, ends_at)
        except TimeoutError as error:
            raise _timed_out(target, error) from error
        except aiohttp.ClientError as error:
            raise _connection_failure(error) from error

    async def list_models(self, provider: Provider, credential: Credential) -> list[str]:
        """The names that a server's `/models` gives. Raises `UpstreamFailure`."""
        session = self._session(provider.use_env_proxies)
        destination = self._destination(provider, credential)
        try:
            async with (
                asyncio.timeout(provider.limits.connect_s),
                session.get(
                    destination.models_url, headers=destination.headers, allow_redirects=False
                ) as response,
            ):
                body = await _read(response, provider.limits.max_body_bytes)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise ConnectionFailed("The provider's list of models cannot be reached.") from error
        return _model_names(body)

    async def aclose(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _send(self, call: Call, target: Target) -> aiohttp.ClientResponse:
        provider = target.provider
        destination = self._destination(provider, target.credential)
        response = await self._session(provider.use_env_proxies).post(
            destination.chat_url,
            data=orjson.dumps(_body(call, target)),
            headers=_with_forwarded(destination.headers, provider, call.headers),
            timeout=_client_timeout(provider.limits),
            allow_redirects=False,
        )
        if response.status != 200:
            raise await _refused(response, target)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise ResponseParsing(UNPARSABLE)
        return response

    def _destination(self, provider: Provider, credential: Credential) -> Destination:
        key = (provider.name, provider.base_url, credential.secret)
        destination = self._destinations.get(key)
        if destination is None:
            destination = self._destinations[key] = _new_destination(provider, credential)
        return destination

    def _session(self, use_env_proxies: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(use_env_proxies)
        if session is None:
            session = self._sessions[use_env_proxies] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=use_env_proxies,
                max_line_size=_HEAD_LIMIT,
                max_field_size=_HEAD_LIMIT,
            )
        return session


class NativeStream:
    """The source of a `Stream`: reads while it is read, so a slow reader slows the provider.

    One timer per stream, not one per read, watches the limits: a read notes until when it may
    take, and the timer looks now and then whether that time has passed.
    """

    def __init__(self, response: aiohttp.ClientResponse, target: Target, ends_at: float) -> None:
        self._response = response
        self._content = response.content
        self._reader = ChunkReader(target)
        self._target = target
        self._idle_s = target.provider.limits.idle_s
        self._ends_at = ends_at
        self._ready: Events = []
        self._failure: UpstreamFailure | None = None
        self._loop = asyncio.get_running_loop()
        self._read_by: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Wait for the first event. The caller bounds the time."""
        try:
            self._ready = await self._next()
        except StopAsyncIteration as error:
            raise ResponseParsing(TRUNCATED) from error
        self._watch()

    def __aiter__(self) -> NativeStream:
        return self

    async def __anext__(self) -> Events:
        if self._ready:
            events, self._ready = self._ready, []
            return events
        now = self._loop.time()
        self._read_by = min(now + self._idle_s, self._ends_at)
        try:
            if now >= self._ends_at:  # a stream that is never idle never lets the timer in
                raise TimeoutError
            return await self._next()
        except TimeoutError as error:
            raise _timed_out(self._target, error) from error
        finally:
            self._read_by = None

    async def _next(self) -> Events:
        if self._failure:
            raise self._failure
        while not self._reader.done:
            try:
                data = await self._content.readany()
            except aiohttp.ClientError as error:
                if self._reader.finished:
                    break  # nothing of the answer is missing
                raise ResponseParsing(TRUNCATED) from error
            try:
                events = self._reader.feed(data) if data else self._reader.end()
            except UpstreamFailure as failure:
                if not self._reader.pending:
                    raise
                self._failure, events = failure, self._reader.pending
            if events:
                return events
            if not data:
                break
        raise StopAsyncIteration

    def _watch(self) -> None:
        now = self._loop.time()
        idle = self._read_by is not None and now >= self._read_by
        if idle or now >= self._ends_at:
            self._content.set_exception(TimeoutError())
            return
        wake_at = self._read_by if self._read_by is not None else now + self._idle_s
        self._timer = self._loop.call_at(min(wake_at, self._ends_at), self._watch)

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else cut it."""
        if self._timer:
            self._timer.cancel()
        if self._reader.done and (self._content.at_eof() or await self._ended()):
            self._response.release()
        else:
            self._response.close()

    async def _ended(self) -> bool:
        """Is the body over? Many servers write its end a moment after their last event."""
        try:
            async with asyncio.timeout(_END_OF_BODY_S):
                while not self._content.at_eof():
                    await self._content.readany()
        except (TimeoutError, aiohttp.ClientError):
            return False
        return True


async def _stream(response: aiohttp.ClientResponse, target: Target, ends_at: float) -> Stream:
    source = NativeStream(response, target, ends_at)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(source.aclose)
        await source.start()
        stack.pop_all()  # started: from here on the stream closes it
    return Stream(source, source.aclose)


async def _completion(response: aiohttp.ClientResponse, target: Target) -> Completion:
    async with response:
        try:
            raw = await _read(response, target.provider.limits.max_body_bytes)
        except aiohttp.ClientError as error:
            raise ResponseParsing(TRUNCATED) from error
    return completion(raw, target)


async def _refused(response: aiohttp.ClientResponse, target: Target) -> UpstreamFailure:
    """The failure behind an error status; a body that is too large says nothing."""
    async with response:
        try:
            body = await _read(response, MAX_ERROR_BYTES)
        except (aiohttp.ClientError, ResponseParsing):
            body = b""
    return failure_from_response(response.status, response.headers, body, target)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.content_length is not None and response.content_length > max_bytes:
        response.close()
        raise ResponseParsing(TOO_LARGE)
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            response.close()
            raise ResponseParsing(TOO_LARGE)
    return b"".join(pieces)


def _body(call: Call, target: Target) -> JSON:
    body = {**call.body, "model": target.model.name}
    if call.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body


def _new_destination(provider: Provider, credential: Credential) -> Destination:
    if not provider.base_url:
        raise InvalidConfiguration(f"Provider {provider.name} has no base_url.")
    headers = {
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": f"sluice/{__version__}",
        **provider.headers,
    }
    if credential.secret:
        headers["authorization"] = f"Bearer {credential.secret}"
    chat_url = URL(provider.base_url + "/chat/completions", encoded=True)
    return Destination(chat_url, URL(provider.base_url + "/models", encoded=True), headers)


def _with_forwarded(
    headers: Mapping[str, str], provider: Provider, given: Mapping[str, str]
) -> Mapping[str, str]:
    forwarded = {name: given[name] for name in provider.forward_headers if name in given}
    return {**headers, **forwarded} if forwarded else headers


def _client_timeout(limits: Limits) -> aiohttp.ClientTimeout:
    """Only the connection, name and TLS included: the lane itself bounds everything after it."""
    return aiohttp.ClientTimeout(total=None, connect=limits.connect_s)


def _timed_out(target: Target, error: TimeoutError) -> UpstreamFailure:
    failure = UpstreamTimeout(f"{target.name} did not answer in time.")
    failure.billable = not isinstance(error, aiohttp.ConnectionTimeoutError)
    return failure


def _connection_failure(error: aiohttp.ClientError) -> UpstreamFailure:
    """What is known to have failed before the request left costs nothing; the rest is billable."""
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return ResponseParsing(UNPARSABLE)
    failure = ConnectionFailed("The connection to the provider failed. Try again shortly.")
    failure.billable = not isinstance(error, aiohttp.ClientConnectorError)
    return failure


def _model_names(body: bytes) -> list[str]:
    try:
        listed = orjson.loads(body)["data"]
        return [entry["id"] for entry in listed]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ResponseParsing("The provider's list of models could not be parsed.") from error
