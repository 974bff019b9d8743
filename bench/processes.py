"""Child processes: started on a core, accounted for, and ended by their own id."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

LINUX = sys.platform == "linux"
TARGET_CORE, LOAD_CORE = 0, 1
STOP_S = 5.0

_running: list[Child] = []


def can_pin() -> bool:
    """Are there two cores and a way to choose between them? `BENCH_PIN=0` says no."""
    if os.environ.get("BENCH_PIN", "1") == "0" or not hasattr(os, "sched_setaffinity"):
        return False
    return {TARGET_CORE, LOAD_CORE} <= os.sched_getaffinity(0)


PINNED = can_pin()


class Child:
    """A process in a group of its own, so that its workers are counted and ended with it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        output: IO[str] | int | None = None,
    ) -> None:
        with log.open("ab") as stderr:
            self.process: subprocess.Popen[str] = subprocess.Popen(
                list(command),
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=stderr if output is None else output,
                stderr=stderr,
                start_new_session=True,
                text=True,
            )
        if PINNED:
            os.sched_setaffinity(self.process.pid, {core})
        _running.append(self)

    def members(self) -> list[int]:
        """The living processes of the group."""
        return [pid for pid, group in _groups() if group == self.process.pid]

    def cpu_ms(self) -> float:
        """User and system time of the group so far."""
        return sum(cpu_ms_of(pid) for pid in self.members())

    def rss_mb(self) -> float:
        """Resident memory of the group; pages that its processes share count once for each."""
        return sum(rss_kb_of(pid) for pid in self.members()) / 1024

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        """SIGTERM to the child, which ends its workers; SIGKILL to what is left of its group."""
        if self in _running:
            _running.remove(self)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        # macOS answers EPERM for a group that only holds a zombie.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)


@atexit.register
def stop_all() -> None:
    """End every child that still runs, the latest first."""
    for child in reversed(_running.copy()):
        child.stop()


def _groups() -> list[tuple[int, int]]:
    """(process id, process group id) of everything that runs."""
    if not LINUX:
        return [(int(pid), int(group)) for pid, group in _ps("pid=,pgid=")]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append((int(entry), os.getpgid(int(entry))))
            except ProcessLookupError:
                continue
    return found


def cpu_ms_of(pid: int) -> float:
    """CPU time of one process, all its threads included; 0 where it is gone."""
    if LINUX:
        try:
            # clock_getcpuclockid(3): the process's own CPU clock, to the nanosecond, where
            # /proc/PID/stat counts hundredths of a second.
            return time.clock_gettime_ns((~pid << 3) | 2) / 1e6
        except OSError:
            return 0.0
    return sum(_clock_ms(spent) for (spent,) in _ps("time=", pid))


def rss_kb_of(pid: int) -> int:
    if not LINUX:
        return sum(int(kb) for (kb,) in _ps("rss=", pid))
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def machine_busy_ms() -> float | None:
    """CPU time that everything on the machine has used; None where /proc does not say."""
    if not LINUX:
        return None
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) * 1000 / os.sysconf("SC_CLK_TCK")


def _ps(columns: str, pid: int | None = None) -> list[list[str]]:
    """`ps` is what macOS has in place of /proc; its CPU times are hundredths of a second."""
    which = ["-A"] if pid is None else ["-p", str(pid)]
    listing = subprocess.run(
        ["ps", *which, "-o", columns],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return [line.split() for line in listing.stdout.splitlines() if line.strip()]


def _clock_ms(text: str) -> float:
    """`[[dd-]hh:]mm:ss[.cc]` in milliseconds."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return (float(days or 0) * 86_400 + seconds) * 1000
