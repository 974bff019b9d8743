"""How fast is the targets' core right now?

On a shared machine the same work can cost nearly twice the CPU time from one second to the next.
Ten times a second this process does a fixed piece of work on that core and writes to its standard
output when that was and what CPU time it took: "unix seconds, microseconds". `Pace` reads it, so
that CPU figures can be divided by how slow the core was while they were taken.

    python -m bench.metronome
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from statistics import fmean

INTERVAL_S = 0.1
ROUNDS = 1500


def work(rounds: int) -> int:
    """Interpreter work: small integers, a dictionary, short strings."""
    seen: dict[int, str] = {}
    state = 1
    for i in range(rounds):
        state = (state * 75 + i) % 65537
        seen[state & 127] = f"{state}"
    return len(seen)


def beat() -> None:
    """Work and report until the parent is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(INTERVAL_S)
        work(ROUNDS // 4)  # so that the caches are warm whatever ran before
        started = time.process_time_ns()
        work(ROUNDS)
        spent_us = (time.process_time_ns() - started) / 1000
        print(f"{time.time():.3f} {spent_us:.1f}", flush=True)


class Pace:
    """What a running metronome has said. Lives as long as its process writes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._beats: list[tuple[float, float]] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, spent_us = line.split()
            self._beats.append((float(at), float(spent_us)))

    def between(self, start: float, end: float) -> float | None:
        """Mean microseconds of the fixed work between two unix times."""
        spent = [us for at, us in self._beats if start <= at <= end]
        return fmean(spent) if spent else None


if __name__ == "__main__":
    beat()
