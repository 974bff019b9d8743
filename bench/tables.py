"""Tables: the samples of a run as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, sub, truediv

from bench.samples import Metric, Samples, rate
from bench.suites import OPEN_LOOP_CONNECTIONS, OPEN_LOOP_PER_S
from bench.targets import REFERENCE, STREAM_MODEL

BUSY_DRIVER = 0.85
INVALID = "†"


def report(samples: Samples) -> Iterator[str]:
    """Every table that the samples allow, then the notes."""
    tables = Tables(samples)
    yield from tables.cpu("unary", "CPU ms per request", samples.cpu_per_request)
    yield from tables.cpu(
        "stream", f"CPU ms per streamed chunk ({STREAM_MODEL})", samples.cpu_per_chunk
    )
    yield from tables.throughput()
    yield from tables.latency()
    yield from tables.first_chunk()
    yield from tables.start_and_memory()
    yield from tables.notes()


class Tables:
    """One method per table; each yields nothing where nothing was measured."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.invalid = {(s.suite, s.target, s.connections) for s in samples.broken()}

    def cpu(self, suite: str, title: str, metric: Metric) -> Iterator[str]:
        columns = self.samples.connections(suite)
        names = [name for name in self.samples.targets(suite) if name != "direct"]
        if not columns or not names:
            return
        yield f"### {title}\n"
        yield from _head(
            ["", *(f"C={c}" for c in columns), "spread", "ratio to", *(f"C={c}" for c in columns)]
        )
        for name in names:
            reference = REFERENCE.get(name, "bare")
            values = [self._cell(metric, suite, name, c, 3) for c in columns]
            ratios = [self._ratio(metric, suite, name, c) for c in columns]
            spread = self.samples.spread(metric, suite, name, 16 if 16 in columns else columns[0])
            yield _row(
                [name, *values, _share(spread), "" if name == reference else reference, *ratios]
            )
        yield ""

    def throughput(self) -> Iterator[str]:
        columns = self.samples.connections("unary")
        if not columns:
            return
        yield "### Requests per second, closed loop\n"
        yield from _head(["", *(f"C={c}" for c in columns)])
        for name in self.samples.targets("unary"):
            yield _row([name, *(self._cell(rate, "unary", name, c, 0) for c in columns)])
        yield ""

    def latency(self) -> Iterator[str]:
        loads = {
            "C=1": ("unary", 1),
            f"{OPEN_LOOP_PER_S:.0f}/s": ("latency", OPEN_LOOP_CONNECTIONS),
        }
        loads = {
            name: load
            for name, load in loads.items()
            if self.samples.of(load[0], "direct", load[1])
        }
        if not loads:
            return
        yield "### Added latency over the upstream itself, ms\n"
        yield from _head(["", *(f"{load} {p}" for load in loads for p in ("p50", "p99"))])
        suites = dict.fromkeys(suite for suite, _ in loads.values())
        for name in dict.fromkeys(name for suite in suites for name in self.samples.targets(suite)):
            if name != "direct":
                cells = [
                    self._added(attrgetter(percentile), suite, name, connections)
                    for suite, connections in loads.values()
                    for percentile in ("latency_p50", "latency_p99")
                ]
                yield _row([name, *cells])
        yield ""

    def first_chunk(self) -> Iterator[str]:
        columns = self.samples.connections("stream")
        names = self.samples.targets("stream")
        if not columns or "direct" not in names:
            return
        yield "### Added time to the first chunk, ms (p50, p99)\n"
        yield from _head(["", *(f"C={c}" for c in columns)])
        for name in names:
            if name != "direct":
                cells = [
                    self._added(lambda s: s.first_p50, "stream", name, c)
                    + ", "
                    + self._added(lambda s: s.first_p99, "stream", name, c)
                    for c in columns
                ]
                yield _row([name, *cells])
        yield ""

    def start_and_memory(self) -> Iterator[str]:
        names = self.samples.targets("start")
        if not names:
            return
        yield "### Start and memory\n"
        yield from _head(
            ["", "first answer, s", "ratio to", "", "RSS MB idle", "RSS MB after load"]
        )
        for name in names:
            reference = REFERENCE.get(name, "bare")
            yield _row(
                [
                    name,
                    self._cell(self.samples.start_s, "start", name, 0, 2),
                    "" if name == reference else reference,
                    self._ratio(self.samples.start_s, "start", name, 0),
                    self._cell(lambda s: s.rss_mb, "start", name, 0, 0),
                    self._cell(lambda s: s.rss_mb, "memory", name, 64, 0),
                ]
            )
        yield ""

    def notes(self) -> Iterator[str]:
        """What a reader has to know before believing a figure."""
        for sample in self.samples.broken():
            errors = ", ".join(f"{count} x {error}" for error, count in sample.errors.items())
            yield (
                f"{INVALID} invalid: {sample.target}, {sample.suite}, C={sample.connections}, "
                f"round {sample.round + 1}: {errors}"
            )
        loaded = self.samples.of("unary") + self.samples.of("stream")
        busy = {
            f"{s.target} ({s.suite}, C={s.connections})"
            for s in loaded
            if s.target != "direct" and (s.driver_busy or 0) > BUSY_DRIVER
        }
        if busy:
            yield f"The load generator's core was nearly full for: {', '.join(sorted(busy))}."
        foreign = sorted(s.foreign_cores for s in loaded if s.foreign_cores is not None)
        if foreign:
            yield (
                f"Others on the machine used {foreign[len(foreign) // 2]:.2f} cores in the median "
                f"sample, {foreign[-1]:.2f} in the worst."
            )
        slow = sorted(self.samples.slowness(s) for s in loaded)
        if slow:
            yield (
                f"The targets' core was {slow[len(slow) // 2]:.2f} times slower than at its best "
                f"in the median sample, {slow[-1]:.2f} times in the worst; CPU figures and start "
                "times are corrected for that."
            )

    def _cell(self, metric: Metric, suite: str, target: str, connections: int, digits: int) -> str:
        value = self.samples.value(metric, suite, target, connections)
        return self._marked(_number(value, digits), suite, target, connections)

    def _ratio(self, metric: Metric, suite: str, target: str, connections: int) -> str:
        reference = REFERENCE.get(target, "bare")
        if target == reference:
            return ""
        value = self._paired(truediv, metric, suite, target, reference, connections)
        text = "" if value is None else f"{value:.2f} x"
        text = self._marked(text, suite, reference, connections)
        return self._marked(text, suite, target, connections)

    def _added(self, metric: Metric, suite: str, target: str, connections: int) -> str:
        value = self._paired(sub, metric, suite, target, "direct", connections)
        return self._marked(_number(value, 2), suite, target, connections)

    def _paired(
        self,
        compare: Callable[[float, float], float],
        metric: Metric,
        suite: str,
        target: str,
        reference: str,
        connections: int,
    ) -> float | None:
        return self.samples.paired(compare, metric, suite, target, reference, connections)

    def _marked(self, text: str, suite: str, target: str, connections: int) -> str:
        marked = (suite, target, connections) in self.invalid and INVALID not in text
        return f"{text} {INVALID}".strip() if marked else text


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield "|---" + "|---:" * (len(cells) - 1) + "|"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
