"""The gateway as its users run it: how does a test start one, talk to it and look behind it?

    async with GatewayProcess(tmp_path, table("providers.echo", kind="echo")) as gateway:
        ...  # gateway.base_url, gateway.key, gateway.ledger, gateway.send_signal(...)

`home` holds config.toml, data/ and the process's output; a second GatewayProcess with the same
`home` is the same gateway after a restart. Fixtures over this: tests/conftest.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.fakes.upstream import Upstream
from tests.ledger_view import LedgerView

ROOT = Path(__file__).resolve().parent.parent
# Tests of another SDK run in its environment; the gateway they start stays in its own.
PYTHON = os.environ.get("SLUICE_TEST_PYTHON", sys.executable)
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 20.0
_TICK_S = 0.01

Setting = str | int | float | bool | Sequence["Setting"] | Mapping[str, "Setting"]


def table(name: str, **settings: Setting) -> str:
    """One table of config.toml: `table("server", port=0)`."""
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _toml(value: Setting) -> str:
    if isinstance(value, Mapping):
        inner = (f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(inner) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)  # strings, numbers and truth are written alike in both formats


ECHO = table("providers.echo", kind="echo", models=["echo", "echo-slow"])
FAKE_KEY = "sk-upstream-secret-0123456789"  # what `start_gateway` puts into FAKE_API_KEY


def fake_provider(upstream: Upstream, name: str = "fake", **settings: Setting) -> str:
    """Configuration of a fake that speaks OpenAI's format; `settings` add to it or replace it."""
    given: dict[str, Setting] = {
        "kind": "openai_compatible",
        "base_url": f"{upstream.url}/v1",
        "api_key": "env:FAKE_API_KEY",
        "models": ["fake-model"],
    }
    return table(f"providers.{name}", **{**given, **settings})


class GatewayProcess:
    """One running gateway, parent and workers. As a context manager, sync or async, it ends it.

    `config` is the text of config.toml; without a `[server]` table of its own it gets one with a
    short drain. `env` is all that the process sees besides PATH: no provider key of the
    developer's own shell is ever used.
    """

    def __init__(
        self,
        home: Path,
        config: str = ECHO,
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.ledger = LedgerView(home / "data" / "sluice.db")
        self.url: str = ""
        if "[server]" not in config:
            config = table("server", drain_s=5.0) + config
        (home / "config.toml").write_text(config)
        self._command = [PYTHON, "-m", "gateway", "serve", "--config", "config.toml"]
        self._command += ["--port", "0", *arguments]
        self._env = {**_inherited(), "PYTHONPATH": str(ROOT), **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> GatewayProcess:
        """Returns when the gateway is ready. Raises `RuntimeError` with its output if it ends."""
        self.url = ""
        with (self.home / "output").open("wb") as out, (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.home,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._become_ready(time.monotonic() + READY_WITHIN_S)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that takes too long. The exit status."""
        if self.process.poll() is None:
            self.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL for the process and its workers: nothing is written any more."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: only what it started
        self.process.wait()

    def wait(self, timeout_s: float = STOPPED_WITHIN_S) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        return self.process.wait(timeout_s)

    def send_signal(self, number: signal.Signals) -> None:
        """To the parent only, as an operator would."""
        self.process.send_signal(number)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the gateway was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def base_url(self) -> str:
        """What a client is configured with."""
        return f"{self.url}/v1"

    @property
    def key(self) -> str:
        """The first virtual key."""
        return self._secret("SLUICE_KEY")

    @property
    def admin_key(self) -> str:
        return self._secret("SLUICE_ADMIN_KEY")

    def log(self) -> str:
        """What all processes with this home wrote to standard error."""
        return (self.home / "log").read_text()

    def command(self, *arguments: str) -> str:
        """The output of `sluice ARGUMENTS` on this gateway's database."""
        done = subprocess.run(
            [PYTHON, "-m", "gateway", *arguments, "--config", "config.toml"],
            cwd=self.home,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> GatewayProcess:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None:
            assert "Traceback" not in self.log(), self.log()

    async def __aenter__(self) -> GatewayProcess:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _become_ready(self, deadline: float) -> None:
        while not self.url:
            found = re.search(r"listens on (http://\S+)", (self.home / "output").read_text())
            self.url = found[1] if found else ""
            self._still_starting(deadline)
        while not _is_ready(self.url, deadline - time.monotonic()):
            self._still_starting(deadline)

    def _still_starting(self, deadline: float) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {self.process.returncode}: {self.log()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the gateway is not ready after {READY_WITHIN_S} s: {self.log()}")
        time.sleep(_TICK_S)

    def _secret(self, name: str) -> str:
        lines = (self.home / "data" / "first-keys").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)[name]


def _inherited() -> dict[str, str]:
    """PATH, and what makes coverage measure a child process."""
    return {k: v for k, v in os.environ.items() if k == "PATH" or k.startswith("COV")}


def _is_ready(url: str, timeout_s: float) -> bool:
    """The socket listens from the start, so the first request waits for the rest of it."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=timeout_s) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
