"""The end of the request path: which lane speaks to the target?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.exchange import Call, Reply, planned
from gateway.targets import LaneName
from gateway.trace import AttemptAnswered, AttemptSent


class Lane(Protocol):
    """Sends one attempt to `call.chosen` and returns its answer.

    A stream is returned with its first event at hand. Raises `UpstreamFailure`, and nothing
    else, for what goes wrong at the provider. A cancelled call closes its connection at once.
    """

    async def __call__(self, call: Call) -> Reply: ...

    async def aclose(self) -> None:
        """Close all connections."""


class Lanes:
    """The endpoint below the last policy. A dry run ends here: no lane ever sees one."""

    def __init__(self, lanes: Mapping[LaneName, Lane]) -> None:
        self._lanes = dict(lanes)

    async def __call__(self, call: Call) -> Reply:
        if call.dry_run:
            return planned(call)
        trace = call.trace
        trace.add(AttemptSent(call.attempt, trace.now_s()))
        reply = await self._lanes[call.chosen.provider.lane](call)
        trace.add(AttemptAnswered(call.attempt, trace.now_s()))
        return reply

    def have(self, name: LaneName) -> bool:
        return name in self._lanes

    def add(self, name: LaneName, lane: Lane) -> None:
        """A lane that is ready; closed with the others."""
        self._lanes[name] = lane

    async def ready(self) -> bool:
        """Are all lanes that the configuration needs there? They are loaded before the start."""
        return bool(self._lanes)

    async def aclose(self) -> None:
        """Close every lane."""
        for lane in self._lanes.values():
            await lane.aclose()
