"""Suites: what is done to the targets, in which order?

Every suite is interleaved: round 1 of all targets, round 2 of all targets, … so that a change of
the machine's speed meets all of them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.load import Result, Spec
from bench.metronome import Pace
from bench.processes import Child, cpu_ms_of, machine_busy_ms
from bench.samples import Sample, Samples
from bench.targets import STREAM_CHUNKS, STREAM_SECONDS, NotAnswering, Target

OPEN_LOOP_PER_S = 100.0
OPEN_LOOP_S = 2.0
OPEN_LOOP_CONNECTIONS = 64
SETTLE_S = 0.5
MEMORY_REQUESTS = 1000
MEMORY_LIMIT_S = 10.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Bench:
    """A run: its targets, the processes around them, and the samples so far."""

    targets: list[Target]
    upstream: Child
    metronome: Child
    pace: Pace
    samples: Samples
    rounds: int
    seconds: float
    connections: Sequence[int]

    def start(self) -> None:
        """Start every target `rounds` times; the last time it stays up."""
        for number in range(self.rounds):
            for target in self.targets.copy():
                if target.command:
                    self._start_once(target, number)
                    if number < self.rounds - 1:
                        target.stop()

    def _start_once(self, target: Target, number: int) -> None:
        began = time.time()
        try:
            seconds = target.start()
        except NotAnswering as error:
            say(f"left out: {error}")
            self.targets.remove(target)
            return
        ended = time.time()
        time.sleep(SETTLE_S)
        self._add(
            Sample(
                suite="start",
                target=target.name,
                round=number,
                seconds=seconds,
                requests=1,
                cpu_ms=target.child.cpu_ms() if target.child else None,
                rss_mb=target.child.rss_mb() if target.child else None,
                pace_us=self.pace.between(began, ended),
            )
        )

    def warm_up(self) -> None:
        """Compile what is compiled lazily, fill pools. Nothing is recorded."""
        for target in self.targets:
            for stream, count in ((False, 300), (True, 32)):
                self._load(target, stream, connections=16, seconds=3.0, max_requests=count)

    def unary(self) -> None:
        self._interleave("unary", stream=False)

    def stream(self) -> None:
        self._interleave("stream", stream=True)

    def _interleave(self, suite: str, *, stream: bool) -> None:
        for number in range(self.rounds):
            for connections in self.connections:
                for target in self.targets:
                    self._sample(suite, target, number, stream, connections, self.seconds)

    def latency(self) -> None:
        """At a fixed rate, below every target's capacity, so that nothing queues for long."""
        for number in range(self.rounds):
            for target in self.targets:
                self._sample(
                    "latency",
                    target,
                    number,
                    False,
                    OPEN_LOOP_CONNECTIONS,
                    OPEN_LOOP_S,
                    rate=OPEN_LOOP_PER_S,
                )

    def memory(self) -> None:
        """A fixed number of requests after all that went before; then the resident memory."""
        for target in self.targets:
            if target.child is not None:
                count = MEMORY_REQUESTS
                self._sample("memory", target, 0, False, 64, MEMORY_LIMIT_S, max_requests=count)

    def _sample(
        self,
        suite: str,
        target: Target,
        number: int,
        stream: bool,
        connections: int,
        seconds: float,
        *,
        rate: float = 0.0,
        max_requests: int = 100_000,
    ) -> None:
        before, began = self._counters(target), time.time()
        result = self._load(
            target,
            stream,
            connections=connections,
            seconds=seconds,
            rate=rate,
            max_requests=max_requests,
        )
        after, ended = self._counters(target), time.time()
        spent_ms = (ended - began) * 1000
        foreign = None
        if before.machine_ms is not None and after.machine_ms is not None:
            own = after.own_ms - before.own_ms
            foreign = max(0.0, after.machine_ms - before.machine_ms - own) / spent_ms
        driving_ms = result.cpu_ms + after.upstream_ms - before.upstream_ms
        self._add(
            Sample(
                suite=suite,
                target=target.name,
                round=number,
                connections=connections,
                requests=result.requests,
                chunks=result.chunks,
                errors=result.errors,
                seconds=result.seconds,
                cpu_ms=after.target_ms - before.target_ms if target.child else None,
                rss_mb=target.child.rss_mb() if target.child else None,
                latency_p50=result.latency_p50,
                latency_p99=result.latency_p99,
                first_p50=result.first_p50,
                first_p99=result.first_p99,
                pace_us=self.pace.between(began, ended),
                driver_busy=driving_ms / (result.seconds * 1000) if result.seconds else None,
                foreign_cores=foreign,
            )
        )

    def _counters(self, target: Target) -> Counters:
        """CPU times now. The target's are read closest to the load on both sides."""
        upstream_ms = self.upstream.cpu_ms()
        target_ms = target.child.cpu_ms() if target.child else 0.0
        others = [t.child for t in self.targets if t.child is not None and t is not target]
        children = sum(child.cpu_ms() for child in (*others, self.metronome))
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = cpu_ms_of(os.getpid()) + (reaped.ru_utime + reaped.ru_stime) * 1000
        return Counters(
            target_ms=target_ms,
            upstream_ms=upstream_ms,
            own_ms=own + children + target_ms + upstream_ms,
            machine_ms=machine_busy_ms(),
        )

    def _load(
        self,
        target: Target,
        stream: bool,
        *,
        connections: int,
        seconds: float,
        rate: float = 0.0,
        max_requests: int = 100_000,
    ) -> Result:
        spec = Spec(
            port=target.port,
            body=target.body(stream=stream),
            headers=target.headers(),
            connections=connections,
            seconds=seconds,
            max_requests=max_requests,
            rate=rate,
            stream=stream,
            min_chunks=STREAM_CHUNKS if stream else 0,
            ramp_s=STREAM_SECONDS if stream else 0.0,
        )
        run = subprocess.run(
            (sys.executable, "-m", "bench.load", json.dumps(asdict(spec))),
            capture_output=True,
            text=True,
            timeout=seconds + spec.grace_s + 30,
            check=False,
        )
        if run.returncode != 0:
            say(run.stderr[-500:])
            return Result(
                requests=0,
                chunks=0,
                errors={"load_generator_failed": 1},
                seconds=0.0,
                cpu_ms=0.0,
                latency_p50=None,
                latency_p99=None,
                first_p50=None,
                first_p99=None,
            )
        return Result(**json.loads(run.stdout))

    def _add(self, sample: Sample) -> None:
        self.samples.add(sample)
        count = sample.chunks or sample.requests
        each = (
            "" if sample.cpu_ms is None or not count else f"{sample.cpu_ms / count:.3f} CPU ms each"
        )
        say(
            f"{sample.suite:8} round {sample.round + 1} C={sample.connections:<3} "
            f"{sample.target:15} {count:6} in {sample.seconds:5.2f} s {each} {sample.errors or ''}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """CPU milliseconds so far: the target's, the upstream's, all of this run's, the machine's."""

    target_ms: float
    upstream_ms: float
    own_ms: float
    machine_ms: float | None
