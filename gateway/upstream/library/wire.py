"""Wire: what passes between litellm and a provider.

All of litellm's asynchronous clients are built on one transport class; `Wire` takes its place. It

- sends each request of an attempt once (litellm's clients repeat some, OpenAI's by default);
- follows no redirect: it would take the key along;
- asks for an unpacked answer and refuses a packed one: 306 KB of gzip may be 1.4 GB;
- applies the target's connect limit, and leaves the others to the lane;
- shows every byte of the answer to the attempt's `Evidence`, and stops at the first fault.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

from gateway.upstream.library.attempt import CURRENT, MAX_ERROR_BYTES, Attempt


class Wire(LiteLLMAiohttpTransport):  # type: ignore[misc]  # litellm's types are not followed
    """litellm's transport, watched. Requests outside an attempt pass as they are."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        attempt = CURRENT.get()
        if attempt is None:
            return await self._send(request)
        attempt.admit(request)
        limits = attempt.target.provider.limits
        request.extensions["timeout"] = {"connect": limits.connect_s}
        request.headers["accept-encoding"] = "identity"
        try:
            response = attempt.canned or await self._send(request)
        except Exception as error:
            attempt.broken = error
            raise
        attempt.answered(response)
        if (
            response.is_redirect
            or response.headers.get("content-encoding", "identity") != "identity"
        ):
            return await _refuse(response, attempt)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101
        response.stream = _Watched(response.stream, attempt)
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await super().handle_async_request(request)
        return response

    async def _get_proxy_settings(self, request: httpx.Request) -> str | None:
        attempt = CURRENT.get()
        if attempt is None or not attempt.target.provider.use_env_proxies:
            return None
        proxy: str | None = self._proxy_from_env(request.url)
        return proxy


async def _refuse(response: httpx.Response, attempt: Attempt) -> httpx.Response:
    await response.aclose()
    if not response.is_redirect:
        attempt.broken = httpx.DecodingError("a packed answer")
    raise httpx.ReadError("an answer that is not read", request=response.request)


class _Watched(httpx.AsyncByteStream):
    """An answer's bytes, up to the first fault."""

    def __init__(self, stream: httpx.AsyncByteStream, attempt: Attempt) -> None:
        self._stream = stream
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        attempt, evidence = self._attempt, self._attempt.evidence
        assert evidence is not None  # noqa: S101  # set by `answered`
        refused = attempt.refused()
        try:
            async for block in self._stream:
                if refused:
                    if len(attempt.body) < MAX_ERROR_BYTES:
                        attempt.body += block
                    else:
                        return
                    yield block
                    continue
                good = evidence.feed(block)
                if good:
                    yield block[:good] if good < len(block) else block
                if evidence.wrong is not None:
                    break
        except httpx.HTTPError as error:
            attempt.broken = error
            raise
        if not refused:
            evidence.close()
            if evidence.wrong is not None:
                raise httpx.ReadError("a fault in the answer")

    async def aclose(self) -> None:
        await self._stream.aclose()
