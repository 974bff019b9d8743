"""Do the figures of several processes make one sum that never decreases?

prometheus_client chooses its mode when it is imported, so the workers here are processes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from gateway.metricfiles import VARIABLE, MetricFiles, bury
from tests.metrics_view import Samples, samples

ROOT = Path(__file__).resolve().parents[2]

_WORKER = """
import os, sys
from gateway.errors import InvalidKey
from gateway.metrics import Metrics
metrics = Metrics((), lambda: int(sys.argv[1]))
for _ in range(int(sys.argv[1])):
    metrics.refused(InvalidKey("x"))
    metrics.instruments.overhead.observe(0.003)
metrics.redis.set_function(lambda: int(sys.argv[1]) % 2)
metrics.instruments.loop_lag.set_function(lambda: int(sys.argv[1]))
metrics.refresh()
os.write(1, str(os.getpid()).encode())
os._exit(9)  # killed, so to speak
"""

ERRORS = ("sluice_errors_total", ("invalid_key",))
OBSERVED = ("sluice_overhead_seconds_count", ())
IN_FLIGHT = ("sluice_in_flight", ())


def worker(home: Path, calls: int) -> int:
    """A process that counted so many calls and was killed. Its number."""
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, str(calls)],
        env={VARIABLE: str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    return int(done.stdout)


def scrape(home: Path) -> Samples:
    return samples(generate_latest(MetricFiles(home)).decode())


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    home = tmp_path_factory.mktemp("metrics")
    return home, [worker(home, 2), worker(home, 3)]


def test_counts_are_added_up_and_outlive_their_workers(
    two_workers: tuple[Path, list[int]],
) -> None:
    home, (first, second) = two_workers
    before = scrape(home)
    assert before[ERRORS] == before[OBSERVED] == 5
    assert before[IN_FLIGHT] == 5  # a sum
    assert before["sluice_redis_available", ()] == 0  # the lowest
    assert before["sluice_event_loop_lag_seconds", ()] == 3  # the highest
    bury(home, first)
    one_left = scrape(home)
    assert one_left[ERRORS] == one_left[OBSERVED] == 5
    assert one_left[IN_FLIGHT] == 3
    bury(home, second)
    bury(home, second)  # nothing is left of it
    none_left = scrape(home)
    assert none_left[ERRORS] == none_left[OBSERVED] == 5
    assert none_left["sluice_overhead_seconds_sum", ()] == pytest.approx(0.015)
    assert IN_FLIGHT not in none_left
    assert len(list(home.glob("*.db"))) == 2  # however many there were


def test_a_file_that_was_only_just_made_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "counter_12345.db").touch()
    assert scrape(tmp_path) == {}


def test_a_worker_that_counted_nothing_is_buried(tmp_path: Path) -> None:
    bury(tmp_path, 12345)
    assert scrape(tmp_path) == {}
