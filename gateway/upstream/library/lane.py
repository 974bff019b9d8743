"""The library lane: one attempt at any provider that litellm knows."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from gateway.errors import UpstreamFailure, UpstreamTimeout
from gateway.exchange import Call, Completion, Reply, Stream
from gateway.targets import Target
from gateway.upstream.failures import failure_of
from gateway.upstream.library.fields import arguments
from gateway.upstream.library.pump import Pump

# Without these, importing litellm or its first calls reach for the network: prices, beta headers
# (synchronously, in the loop), and `.env` files.
_SWITCHES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


class LibraryLane:
    """`load` before the first call, `aclose` after the last.

    `kinds` are the kinds of provider that will be called: they are rehearsed by `load`.
    """

    def __init__(self, kinds: Iterable[str] = ()) -> None:
        self._kinds = tuple(dict.fromkeys(kinds))
        self._engine: Any = None
        self._attempts: Any = None

    async def load(self) -> None:
        """Import litellm (seconds, in a thread) and warm it up, without a network. Idempotent."""
        if self._engine is not None:
            return
        _switch()
        self._attempts = await asyncio.to_thread(_import, "attempt")
        self._engine = await asyncio.to_thread(_import, "engine")
        self._engine.set_up(self)
        rehearsal = _import("rehearsal")
        for kind in self._kinds:
            await rehearsal.rehearse(kind)

    async def aclose(self) -> None:
        """Close litellm's connections."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.shut_down(self)

    async def __call__(self, call: Call) -> Reply:
        """One attempt at `call.target`. Raises `UpstreamFailure`."""
        target = call.target
        assert target is not None  # noqa: S101  # Retry sets it
        openai_wire = self._engine.speaks_openai(target.provider.kind)
        given = arguments(call, target, openai_wire=openai_wire)
        if call.stream:
            return await self._stream(given, target, call.deadline)
        return await self._complete(given, target, call.deadline)

    async def _complete(self, given: dict[str, Any], target: Target, deadline: float) -> Completion:
        attempt = self._attempts.Attempt(target)
        loop = asyncio.get_running_loop()
        last = min(loop.time() + target.provider.limits.total_s, deadline)
        try:
            async with asyncio.timeout_at(last):
                work = self._engine.complete(given, attempt)
                completion: Completion = await asyncio.create_task(work)
        except TimeoutError:
            raise failure_of(UpstreamTimeout, target) from None
        finally:
            await attempt.aclose()
        return completion

    async def _stream(self, given: dict[str, Any], target: Target, deadline: float) -> Stream:
        attempt = self._attempts.Attempt(target)

        def timeout() -> UpstreamFailure:
            return failure_of(UpstreamTimeout, target)

        source = self._engine.events(given, attempt)
        pump = Pump(source, target.provider.limits, deadline, timeout, attempt.aclose)
        await pump.start()
        return Stream(pump, pump.aclose)


def _switch() -> None:
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    # litellm's wheel ships the encodings that tiktoken would download at their first use.
    spec = importlib.util.find_spec("litellm")
    if spec is not None and spec.origin is not None:
        tokenizers = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(tokenizers))


def _import(name: str) -> ModuleType:
    """A module of this package that brings litellm, or something as heavy, with it."""
    return importlib.import_module(f"gateway.upstream.library.{name}")
