"""Is it seen how a process is doing, also by a scrape of another one?"""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.metrics import Metrics
from gateway.vitals import Vitals
from tests import metrics_view
from tests.fakes.clock import Clock
from tests.metrics_view import Samples


class Sleeps:
    """Each takes a second of the clock, and as much longer as is said here; then never ends."""

    def __init__(self, clock: Clock, *late_s: float) -> None:
        self._clock = clock
        self._late_s = list(late_s)
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        if not self._late_s:
            self.over.set()
            await asyncio.Event().wait()
        self._clock.now += seconds + self._late_s.pop(0)


def seen(metrics: Metrics) -> Samples:
    return metrics_view.samples(metrics.render()[0].decode())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics((), lambda: 0)


async def test_the_longest_delay_of_a_timer_is_shown(metrics: Metrics) -> None:
    clock = Clock()
    sleeps = Sleeps(clock, 0.0, 0.25, 0.125)
    async with Vitals(metrics, clock=clock, sleep=sleeps):
        await sleeps.over.wait()
        metrics.refresh()
    assert seen(metrics)["sluice_event_loop_lag_seconds", ()] == pytest.approx(0.25)


async def test_an_old_delay_is_forgotten(metrics: Metrics) -> None:
    clock = Clock()
    sleeps = Sleeps(clock, 5.0, *[0.0] * 30)
    async with Vitals(metrics, clock=clock, sleep=sleeps):
        await sleeps.over.wait()
        metrics.refresh()
    assert seen(metrics)["sluice_event_loop_lag_seconds", ()] == pytest.approx(0)


async def test_the_process_is_shown(metrics: Metrics) -> None:
    async with Vitals(metrics):
        metrics.refresh()
    found = seen(metrics)
    assert found["sluice_workers", ()] == 1
    assert found["sluice_build_info", (__version__,)] == 1
    assert found["sluice_cpu_seconds_total", ()] > 0
    assert found["sluice_resident_memory_bytes", ()] > 1_000_000
    assert found["sluice_open_files", ()] > 2


@pytest.mark.parametrize("shared", [True, False])
async def test_what_others_see_of_a_worker_is_kept_fresh(metrics: Metrics, shared: bool) -> None:
    class Others(Collector):
        def collect(self) -> list[object]:
            return []

    metrics.shared = Others() if shared else None
    reads: list[None] = []
    metrics.slots.set_function(lambda: reads.append(None) or 0.0)
    clock = Clock()
    sleeps = Sleeps(clock, 0.0, 0.0)
    async with Vitals(metrics, clock=clock, sleep=sleeps):
        await sleeps.over.wait()
    assert len(reads) == (2 if shared else 0)
