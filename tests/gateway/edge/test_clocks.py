"""Do deadlines hold where the event loop has a clock of its own?

On macOS uvloop's goes on while the machine sleeps (`mach_continuous_time`), Python's does not.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.config import Health as HealthSettings
from gateway.config import Retry as Settings
from gateway.errors import ServerError, UpstreamTimeout
from gateway.exchange import Call, Reply
from gateway.health import Attempt, Health
from policies.retry import Retry
from tests.builders import Answers, completion, stream, target, text_event
from tests.gateway.edge.served import Edge

SLEPT_S = 36_000.0


class Slept(asyncio.SelectorEventLoop):
    """The loop of a machine that has slept for hours since it was started."""

    def time(self) -> float:
        return super().time() + SLEPT_S


@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["unstreamed", "streamed"])
def test_a_deadline_is_on_the_clock_of_the_loop(body: dict[str, Any]) -> None:
    answer = stream([text_event("a")]) if body else completion()
    answers = Answers(ServerError("x"), answer)
    health = Health(HealthSettings())
    left_s: list[float] = []

    async def path(call: Call) -> Reply:
        left_s.append(call.deadline - asyncio.get_running_loop().time())
        retry = Retry(Settings(base_s=0.001), health)
        return await retry(call.with_(candidates=(target(),)), answers)

    async def serve() -> int:
        async with Edge(path) as edge, edge.post(body) as found:
            await found.read()
            return found.status

    with asyncio.Runner(loop_factory=Slept) as runner:
        assert runner.run(serve()) == 200
    assert len(answers.calls) == 2
    assert 590 < left_s[0] <= 600


def test_a_timeout_at_the_deadline_is_known_by_the_clock_of_the_loop() -> None:
    health = Health(HealthSettings(consecutive_failures=1))

    async def fail(left_s: float) -> bool:
        deadline = asyncio.get_running_loop().time() + left_s
        with pytest.raises(UpstreamTimeout), Attempt(health, target(), deadline):
            raise UpstreamTimeout("x")
        return health.usable(target())

    with asyncio.Runner(loop_factory=Slept) as runner:
        assert runner.run(fail(0.0))
        assert not runner.run(fail(60.0))
