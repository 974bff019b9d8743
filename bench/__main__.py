"""`bench/run`: what does Sluice cost? Prints Markdown; raw samples go to bench/results/."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bench.metronome import Pace
from bench.processes import LOAD_CORE, PINNED, TARGET_CORE, Child, stop_all
from bench.samples import Samples
from bench.suites import Bench, say
from bench.tables import report
from bench.targets import HERE, NAMES, WORK, NotAnswering, Target, start_upstream, target

SUITES = {
    "unary": "unstreamed requests",
    "stream": "streams",
    "latency": "latency at a fixed rate",
    "memory": "resident memory after a fixed load",
}
PACKAGES = ("starlette", "uvicorn", "aiohttp", "uvloop", "litellm")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load per sample")
    parser.add_argument("--conns", type=_numbers, default=(1, 16, 64, 256), metavar="1,16,…")
    parser.add_argument("--targets", type=_names, default=NAMES, metavar=",".join(NAMES))
    parser.add_argument(
        "--quick", action="store_true", help="1 round at 16 connections, no --latency: a glance"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the raw samples go")
    parser.add_argument("--start", action="store_true", help="only starts, and with: only these")
    parser.add_argument("--nonstream", dest="unary", action="store_true", help=SUITES["unary"])
    for suite in ("stream", "latency", "memory"):
        parser.add_argument(f"--{suite}", action="store_true", help=SUITES[suite])
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.seconds, chosen.conns = 1, 1.0, (16,)
    return chosen


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(NAMES)}")
    return names


def heading() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    pinned = (
        f"targets pinned to core {TARGET_CORE}, load and upstream to core {LOAD_CORE}"
        if PINNED
        else "not pinned: figures of different targets disturb each other"
    )
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}; "
        f"one worker per target; {pinned}.\n"
    )


def described(names: tuple[str, ...], upstream_port: int) -> list[Target]:
    found = []
    for name in names:
        try:
            found.append(target(name, upstream_port))
        except NotAnswering as error:
            say(f"left out: {error}")
    return found


def measure(chosen: argparse.Namespace, samples: Samples) -> None:
    upstream, upstream_port = start_upstream()
    metronome = Child(
        (sys.executable, "-m", "bench.metronome"),
        core=TARGET_CORE,
        log=WORK / "metronome.log",
        output=subprocess.PIPE,
    )
    bench = Bench(
        targets=described(chosen.targets, upstream_port),
        upstream=upstream,
        metronome=metronome,
        pace=Pace(metronome.process),
        samples=samples,
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        connections=chosen.conns,
    )
    suites = [suite for suite in SUITES if getattr(chosen, suite)]
    if not suites and not chosen.start:
        suites = [suite for suite in SUITES if not (chosen.quick and suite == "latency")]
    bench.start()
    if suites:
        bench.warm_up()
    for suite in suites:
        getattr(bench, suite)()


def main() -> None:
    if sys.platform == "win32":
        raise SystemExit("bench/run needs Linux or macOS")
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if PINNED:
        os.sched_setaffinity(0, {LOAD_CORE})
    file = chosen.json or HERE / "results" / time.strftime("%Y%m%d-%H%M%S.jsonl")
    for directory in (WORK, file.parent):
        directory.mkdir(parents=True, exist_ok=True)
    for old in WORK.glob("*.log"):
        old.unlink()
    samples = Samples(file)
    try:
        measure(chosen, samples)
    finally:
        stop_all()
    print(heading())
    for line in report(samples):
        print(line)
    say(f"raw samples: {file}")


if __name__ == "__main__":
    main()
