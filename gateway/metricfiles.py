"""Metric files: how do the figures of several workers make one sum?

Each worker keeps its figures in files of a directory that the parent has made (the multiprocess
mode of prometheus_client, chosen by `PROMETHEUS_MULTIPROC_DIR` when that library is imported). A
scrape of any worker adds all of them up. The figures of a worker that ended stay, so that no
counter decreases: the parent moves them into one pair of files, or each worker that crashes would
make every later scrape slower. Its gauges go with it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_ADDED_UP = ("counter", "histogram")
_OF_THE_DEAD = "0"  # no process has this number
_LOCK = "lock"


class MetricFiles(Collector):
    """The figures of all workers, as prometheus_client collects them."""

    def __init__(self, home: str | Path) -> None:
        self._home = Path(home)

    def collect(self) -> Iterable[Metric]:
        with _locked(self._home, fcntl.LOCK_SH):
            # One that was made this moment is empty yet.
            files = [str(f) for f in sorted(self._home.glob("*.db")) if f.stat().st_size]
            merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def bury(home: Path, pid: int) -> None:
    """Keep what a worker that has ended counted, and forget the rest of it."""
    with _locked(home, fcntl.LOCK_EX):
        for kind in _ADDED_UP:
            left = home / f"{kind}_{pid}.db"
            if left.exists():
                _add(left, home / f"{kind}_{_OF_THE_DEAD}.db")
                left.unlink()
        for gauge in home.glob(f"gauge_*_{pid}.db"):
            gauge.unlink()


def _add(source: Path, target: Path) -> None:
    sums = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(source)):  # type: ignore[no-untyped-call]
            before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
            sums.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        sums.close()  # type: ignore[no-untyped-call]


@contextmanager
def _locked(home: Path, how: int) -> Iterator[None]:
    """Between two of its steps a burial would count twice, or not at all."""
    with (home / _LOCK).open("a") as lock:
        fcntl.flock(lock, how)
        yield
