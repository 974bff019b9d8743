"""A command line over a real, temporary configuration and database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import Hooks, main
from gateway.config import Config

CONFIG = """
[database]
url = "sqlite:state/sluice.db"
[keys]
pepper = "file:state/pepper"
[providers.echo]
kind = "echo"
models = ["echo"]
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"
credentials = { lab = "env:LAB_KEY?" }
[models.smart]
targets = ["openai/gpt-4o-mini", "echo/echo"]
[models.lost]
targets = ["openai/gpt-4o-mini"]
"""


@dataclass
class Shell:
    """Runs `sluice` with a configuration of its own. `started` is what `serve` was given."""

    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    started: list[tuple[Config, Path, int | None]] = field(default_factory=list)
    run_server: Callable[[Config, Path, int | None], None] | None = None

    def run(self, *arguments: str, code: int = 0, given: str | None = None) -> Result:
        """`given` is standard input."""
        environ = {"SLUICE_CONFIG": str(self.path), "OPENAI_API_KEY": "", "LAB_KEY": ""}
        hooks = Hooks(self.run_server or (lambda *given: self.started.append(given)))
        command: click.Command = main
        result = CliRunner().invoke(
            command, arguments, given, obj=hooks, env=environ | self.environ, prog_name="sluice"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def failure(self, *arguments: str, code: int = 1) -> str:
        """The one line that a failing command says."""
        result = self.run(*arguments, code=code)
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        return line.removeprefix("sluice: ")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return Shell(path)
