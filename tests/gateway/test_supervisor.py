"""Several workers: when is one that has ended replaced, and when does all end?"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from gateway.supervisor import Supervisor

GROWN_S = 6.0


class Worker:
    """A process that does as it is told."""

    stdin = None

    def __init__(self, pid: int, ends: int | None) -> None:
        self.pid = pid
        self.returncode = ends
        self.heard: list[int] = []

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.heard.append(number)
        if number == signal.SIGTERM:
            self.returncode = 0


class Unchanged:
    asked = False

    def due(self) -> bool:
        return False


class World:
    """A clock that moves when the parent sleeps; `ends` is how the next workers end at once."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ends: list[int] = []
        self.workers: list[Worker] = []
        self.plan: dict[float, Callable[[], None]] = {}
        self.supervisor = Supervisor(
            self.start, 2, Unchanged(), clock=lambda: self.now_s, sleep=self.sleep
        )

    def start(self) -> subprocess.Popen[bytes]:
        worker = Worker(len(self.workers), self.ends.pop(0) if self.ends else None)
        self.workers.append(worker)
        return cast("subprocess.Popen[bytes]", worker)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for due_s in [at_s for at_s in self.plan if at_s <= self.now_s]:
            self.plan.pop(due_s)()

    def stop(self) -> None:
        signal.raise_signal(signal.SIGTERM)

    def kill(self, number: int) -> None:
        self.workers[number].returncode = -signal.SIGKILL

    @property
    def alive(self) -> list[int]:
        return [worker.pid for worker in self.workers if worker.returncode is None]


@pytest.fixture
def world() -> Iterator[World]:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield World()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_killed_worker_is_replaced_at_once(world: World) -> None:
    seen: list[list[int]] = []
    world.plan = {
        1.0: lambda: world.kill(0),
        2.0: lambda: seen.append(world.alive),
        3.0: world.stop,
    }
    assert world.supervisor.run() == 0
    assert seen == [[1, 2]]


def test_a_start_at_which_one_gives_up_ends_all(world: World) -> None:
    world.ends = [3]
    assert world.supervisor.run() == 1
    assert len(world.workers) == 2
    assert world.workers[1].heard == [signal.SIGTERM]


def test_where_others_serve_a_worker_that_gives_up_is_tried_again_later(world: World) -> None:
    """Its configuration may have become faulty, and may become sound again."""
    seen: list[list[int]] = []

    def kill_and_spoil() -> None:
        world.ends = [1, 1]
        world.kill(0)

    world.plan = {
        GROWN_S: kill_and_spoil,
        GROWN_S + 1: lambda: seen.append(world.alive),
        GROWN_S + 15: lambda: seen.append(world.alive),
        GROWN_S + 16: world.stop,
    }
    assert world.supervisor.run() == 0
    assert seen == [[1], [1, 4]]


def test_what_was_put_off_is_not_started_once_all_ends(world: World) -> None:
    def kill_and_spoil() -> None:
        world.ends = [1]
        world.kill(0)

    world.plan = {GROWN_S: kill_and_spoil, GROWN_S + 1: world.stop}
    assert world.supervisor.run() == 0
    assert len(world.workers) == 3
