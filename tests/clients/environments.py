"""Environments of other clients: how does a test get what requirements-dev.lock cannot hold?

Each is made once from a lock file, under the environment that runs the tests, and again when the
lock file changes. Where it cannot be made (no network, say) its tests are skipped with the reason;
`SLUICE_CLIENTS=required` makes them fail instead, for continuous integration.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HOME = Path(sys.prefix) / "clients"
_INSTALL_WITHIN_S = 240


def python_environment(name: str, lock: Path) -> Path:
    """The Python of the virtual environment `name`, which holds what `lock` says."""
    home = HOME / name
    python = home / "bin" / "python"
    with _alone(name):
        if not _is_made_from(lock, home):
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(home)])
            pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
            run([*pip, "--quiet", "--require-hashes", "--requirement", str(lock)])
            shutil.copy(lock, home / "installed.lock")
    return python


def node_modules(package: Path) -> None:
    """Install the packages of `package`/package-lock.json beside it."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            absent(f"{command} is not on the PATH")
    lock = package / "package-lock.json"
    with _alone("node"):
        if not _is_made_from(lock, package / "node_modules"):
            run(
                [
                    "npm",
                    "ci",
                    "--loglevel=error",
                    "--no-audit",
                    "--no-fund",
                    "--prefix",
                    str(package),
                ]
            )
            shutil.copy(lock, package / "node_modules" / "installed.lock")


def run(command: Sequence[str]) -> None:
    """Run one step of an installation; a failure ends the test as `absent` says."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        absent(f"`{' '.join(command[:4])} …` failed: {done.stderr.strip()[-500:]}")


def absent(reason: str) -> None:
    """Skip the test, or fail it where these clients are required."""
    if os.environ.get("SLUICE_CLIENTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def _is_made_from(lock: Path, home: Path) -> bool:
    copy = home / "installed.lock"
    return copy.exists() and copy.read_bytes() == lock.read_bytes()


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time: tests run in several. The kernel frees a dead one's lock."""
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.busy").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
