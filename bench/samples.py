"""Samples: what was measured, and what may be said of it?

Every figure is a median over rounds, and every ratio the median of the ratios of samples of the
same round, which were taken seconds apart. CPU figures are on one scale: divided by how slow the
targets' core was during the sample (see `metronome.py`), its fast state being the 10th percentile
of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement of one target. What a suite does not measure is None.

    `connections` is 0 where the suite has none. `driver_busy` is the share of its core that the
    load generator and the upstream used, `foreign_cores` what the rest of the machine did.
    """

    suite: str
    target: str
    round: int
    connections: int = 0
    requests: int = 0
    chunks: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_ms: float | None = None
    rss_mb: float | None = None
    latency_p50: float | None = None
    latency_p99: float | None = None
    first_p50: float | None = None
    first_p99: float | None = None
    pace_us: float | None = None
    driver_busy: float | None = None
    foreign_cores: float | None = None


Metric = Callable[[Sample], float | None]


def rate(sample: Sample) -> float | None:
    """Good answers per second."""
    return sample.requests / sample.seconds if sample.seconds else None


class Samples:
    """All samples of a run; each also becomes a line of JSON in a file as it comes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._all: list[Sample] = []

    def add(self, sample: Sample) -> None:
        self._all.append(sample)
        with self._file.open("a") as lines:
            lines.write(json.dumps(asdict(sample)) + "\n")

    def of(
        self, suite: str, target: str | None = None, connections: int | None = None
    ) -> list[Sample]:
        return [
            sample
            for sample in self._all
            if sample.suite == suite
            and target in (None, sample.target)
            and connections in (None, sample.connections)
        ]

    def targets(self, suite: str) -> list[str]:
        return list(dict.fromkeys(sample.target for sample in self.of(suite)))

    def connections(self, suite: str) -> list[int]:
        return sorted({sample.connections for sample in self.of(suite)})

    def broken(self) -> list[Sample]:
        """Samples with errors: their figures count for nothing."""
        return [sample for sample in self._all if sample.errors]

    def value(self, metric: Metric, suite: str, target: str, connections: int) -> float | None:
        return _median(metric(sample) for sample in self.of(suite, target, connections))

    def paired(
        self,
        compare: Callable[[float, float], float],
        metric: Metric,
        suite: str,
        target: str,
        reference: str,
        connections: int,
    ) -> float | None:
        """The median of `compare(target's, reference's)` over the rounds that have both."""
        theirs = {s.round: metric(s) for s in self.of(suite, reference, connections)}
        pairs = [
            (metric(sample), theirs.get(sample.round))
            for sample in self.of(suite, target, connections)
        ]
        return _median(compare(mine, other) for mine, other in pairs if mine and other)

    def spread(self, metric: Metric, suite: str, target: str, connections: int) -> float | None:
        """Largest less smallest, as a share of the median: how far to trust a figure."""
        values = [v for s in self.of(suite, target, connections) if (v := metric(s)) is not None]
        if len(values) < 2:
            return None
        return (max(values) - min(values)) / median(values)

    def slowness(self, sample: Sample) -> float:
        """How slow the core was: 1 in its fast state, 2 where work took twice the CPU time."""
        paces = sorted(s.pace_us for s in self._all if s.pace_us is not None)
        if sample.pace_us is None or not paces:
            return 1.0
        return sample.pace_us / paces[len(paces) // 10]

    def cpu_per_request(self, sample: Sample) -> float | None:
        return self._cpu_per(sample, sample.requests)

    def cpu_per_chunk(self, sample: Sample) -> float | None:
        return self._cpu_per(sample, sample.chunks)

    def start_s(self, sample: Sample) -> float:
        """Seconds until the first answer, on the scale of CPU time: starting is computing."""
        return sample.seconds / self.slowness(sample)

    def _cpu_per(self, sample: Sample, count: int) -> float | None:
        if not count or sample.cpu_ms is None:
            return None
        return sample.cpu_ms / count / self.slowness(sample)


def _median(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
