"""Hooks: what does the command line leave to the composition root?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config


@dataclass(frozen=True, slots=True)
class Hooks:
    """Passed as `main(obj=Hooks(...))`.

    `run_server(config, config_path, listen_fds)` returns when the server has ended. `listen_fds`
    are the parent's sockets where this process is one of several workers. Whatever stops the start
    may be a `ConfigError`, a `StoreFault` or an `OSError`, and is reported as one line.
    """

    run_server: Callable[[Config, Path, Sequence[int]], None]
