"""Attempt: one request to a provider, as seen from below litellm.

The lane makes one per call and puts it into `CURRENT`, where the transport (`wire.py`) finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

import httpx

from gateway.errors import ResponseParsing, UpstreamFailure
from gateway.targets import Target
from gateway.upstream.failures import failure_from_response, failure_of
from gateway.upstream.library import verdict
from gateway.upstream.library.evidence import Evidence

CURRENT: ContextVar[Attempt | None] = ContextVar("attempt", default=None)

# Of an error answer: more than any provider sends.
MAX_ERROR_BYTES = 64 * 1024


class Attempt:
    """What is known of one attempt while litellm makes it."""

    __slots__ = (
        "body",
        "broken",
        "canned",
        "evidence",
        "headers",
        "remote_media",
        "response",
        "sent",
        "status",
        "target",
    )

    def __init__(self, target: Target, canned: httpx.Response | None = None) -> None:
        self.target = target
        self.canned = canned  # answers instead of the provider, in a rehearsal
        self.sent: set[tuple[str, str]] = set()
        self.broken: Exception | None = None
        self.remote_media = False
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.response: httpx.Response | None = None
        self.body = b""  # of an error answer
        self.evidence: Evidence | None = None

    def admit(self, request: httpx.Request) -> None:
        """Let a request pass once. litellm's clients repeat some on their own.

        Raises what broke the first one, or `httpx.ReadError`.
        """
        once = (request.method, str(request.url))
        if once in self.sent:
            raise self.broken or httpx.ReadError("an attempt is one request", request=request)
        self.sent.add(once)

    def answered(self, response: httpx.Response) -> None:
        limits = self.target.provider.limits
        self.status, self.headers, self.response = response.status_code, response.headers, response
        kind = self.headers.get("content-type", "")
        self.evidence = Evidence(kind, limits.max_line_bytes, limits.max_body_bytes)

    def refused(self) -> bool:
        """Did the provider answer with anything but success?"""
        return self.status is not None and not 200 <= self.status < 300

    def whole(self) -> bool:
        """Is the answer complete, by the provider's own word, whatever broke after it?"""
        evidence = self.evidence
        return evidence is not None and evidence.wrong is None and evidence.finished

    def fault(self) -> UpstreamFailure | None:
        """The failure that the wire shows, whatever litellm made of it."""
        if self.remote_media:
            return verdict.of_remote_media(self.target)
        if self.status is not None and self.refused():
            return failure_from_response(self.status, self.headers, self.body, self.target)
        if self.evidence is not None and self.evidence.wrong is not None:
            started = self.evidence.recognised
            return verdict.of_evidence(self.evidence.wrong, self.target, started=started)
        if self.broken is not None and not self.whole():
            return verdict.of_wire(self.broken, self.target, answered=self.status is not None)
        return None

    def failure(self, error: Exception) -> UpstreamFailure:
        """The failure behind an exception of litellm's."""
        if isinstance(error, UpstreamFailure):
            return error
        if fault := self.fault():
            return fault
        if self.status is not None:
            return failure_of(ResponseParsing, self.target)
        return verdict.of_library(error, self.target)

    async def aclose(self) -> None:
        """Close the connection if an answer is still coming in. Idempotent."""
        response, self.response = self.response, None
        if response is not None:
            await response.aclose()
