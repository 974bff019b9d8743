"""The native lane: a provider that speaks OpenAI's wire format gets the caller's JSON.

Only `model` is replaced, and a stream is asked for its usage. Answers go back as the provider's
bytes; they are parsed only for usage, finish reasons and errors. One pooled aiohttp client
serves all providers of the lane: identity encoding, no redirects, no cookies, no environment
proxies unless the provider asks for them, and caps on what an upstream may send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
)
from gateway.exchange import JSON, Call, Completion, Reply
from gateway.targets import Credential, Limits, Provider, Target
from gateway.trace import NeverSent
from gateway.upstream.chunks import TOO_LARGE, TRUNCATED, UNPARSABLE, completion
from gateway.upstream.departure import Connector, Departure
from gateway.upstream.failures import failure_from_response
from gateway.upstream.native_stream import native_stream, timed_out

MAX_ERROR_BYTES = 64 * 1024
_KEEPALIVE_S = 30.0
_HEAD_LIMIT = 16 * 1024
_DESTINATIONS_KEPT = 1024


class Destination(NamedTuple):
    """What every request to one provider with one credential shares."""

    provider: Provider
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
        departure = Departure()
        try:
            async with asyncio.timeout_at(first_by):
                response = await self._send(call, target)
                if not call.stream:
                    return await _completion(response, target)
                return await native_stream(await _event_stream(response, target), target, ends_at)
        except TimeoutError as error:
            failure = timed_out(target)
            failure.billable = departure.connected
            raise failure from error
        except aiohttp.ClientError as error:
            raise _connection_failure(error, sent=departure.connected) from error
        except asyncio.CancelledError:
            if not departure.connected:
                call.trace.add(NeverSent(call.attempt))
            raise

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
        # A provider of the same name may have been configured anew, with other headers.
        if destination is None or destination.provider is not provider:
            if len(self._destinations) >= _DESTINATIONS_KEPT:
                self._destinations.clear()
            destination = self._destinations[key] = _new_destination(provider, credential)
        return destination

    def _session(self, use_env_proxies: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(use_env_proxies)
        if session is None:
            session = self._sessions[use_env_proxies] = aiohttp.ClientSession(
                connector=Connector(limit=0, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=use_env_proxies,
                max_line_size=_HEAD_LIMIT,
                max_field_size=_HEAD_LIMIT,
            )
        return session


async def _completion(response: aiohttp.ClientResponse, target: Target) -> Completion:
    async with response:
        try:
            raw = await _read(response, target.provider.limits.max_body_bytes)
        except aiohttp.ClientError as error:
            raise ResponseParsing(TRUNCATED) from error
    return completion(raw, target)


async def _event_stream(response: aiohttp.ClientResponse, target: Target) -> aiohttp.ClientResponse:
    """`response`, unless it is JSON: then an error that was put into a good status is raised."""
    if response.headers.get("content-type", "").startswith("application/json"):
        await _completion(response, target)
        raise ResponseParsing("The provider answered a streamed call with a whole answer.")
    return response


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
    return Destination(
        provider, chat_url, URL(provider.base_url + "/models", encoded=True), headers
    )


def _with_forwarded(
    headers: Mapping[str, str], provider: Provider, given: Mapping[str, str]
) -> Mapping[str, str]:
    forwarded = {name: given[name] for name in provider.forward_headers if name in given}
    return {**headers, **forwarded} if forwarded else headers


def _client_timeout(limits: Limits) -> aiohttp.ClientTimeout:
    """Only the connection, name and TLS included: the lane itself bounds everything after it."""
    return aiohttp.ClientTimeout(total=None, connect=limits.connect_s)


def _connection_failure(error: aiohttp.ClientError, *, sent: bool) -> UpstreamFailure:
    if isinstance(error, aiohttp.ClientResponseError):
        return ResponseParsing(UNPARSABLE)
    failure = ConnectionFailed("The connection to the provider failed. Try again shortly.")
    failure.billable = sent
    return failure


def _model_names(body: bytes) -> list[str]:
    try:
        listed = orjson.loads(body)["data"]
        return [entry["id"] for entry in listed]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ResponseParsing("The provider's list of models could not be parsed.") from error
