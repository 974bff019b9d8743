"""The command `sluice`, also as `python -m gateway`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from gateway.cli import Hooks
from gateway.cli import main as command_line
from gateway.config import Config


def main() -> None:
    """Run a command. Only `serve` imports the server and the policies."""
    command_line(obj=Hooks(run_server=_run_server), prog_name="sluice")


def _run_server(config: Config, config_path: Path, listen_fds: Sequence[int]) -> None:
    if hang_up := getattr(signal, "SIGHUP", None):
        # Whoever asks for a reload this early would end the process: it waits for its handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, {hang_up})
    from gateway.serving import run_server

    run_server(config, config_path, listen_fds)


if __name__ == "__main__":
    main()
