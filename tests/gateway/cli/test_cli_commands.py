"""Are commands found when asked for, and failures one line?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway import __version__
from gateway.config import ConfigError
from gateway.store.faults import BadPepper
from tests.gateway.cli.conftest import Shell

COMMANDS = ("serve", "check", "keys", "teams", "admin-key", "usage", "calls")


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    shown = shell.run().stdout
    assert all(f"\n  {command} " in shown for command in COMMANDS)
    assert shell.run("--help").stdout == shown


def test_the_version_is_shown(shell: Shell) -> None:
    assert shell.run("--version").stdout == f"sluice {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        *([name] for name in COMMANDS if name != "teams"),
        *(["keys", name] for name in ("create", "list", "show", "revoke", "rotate")),
        *(["teams", name] for name in ("list", "bind")),
        ["admin-key", "reset"],
        ["calls", "show"],
    ],
    ids=" ".join,
)
def test_every_command_has_help(shell: Shell, command: list[str]) -> None:
    shown = shell.run(*command, "--help").stdout
    assert shown.startswith(f"Usage: sluice {' '.join(command)} ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--foo"], "No such option '--foo'. See sluice --help."),
        (["kyes"], "No such command 'kyes'. See sluice --help."),
        (["keys", "mint"], "No such command 'mint'. See sluice keys --help."),
        (["keys", "create"], "Missing argument 'NAME'. See sluice keys create --help."),
        (["calls", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range 1<=x<="),
        (["usage", "--since", "x"], "Invalid value for '--since': 'x' is neither a span such as"),
    ],
)
def test_misuse_is_one_line_and_code_2(shell: Shell, arguments: list[str], line: str) -> None:
    assert shell.failure(*arguments, code=2).startswith(line)


def test_serve_hands_the_configuration_to_the_server(shell: Shell) -> None:
    shell.run("serve", "--port", "9000", "--host", "0.0.0.0", "--workers", "2")  # noqa: S104
    ((config, path, listen_fds),) = shell.started
    assert (path, listen_fds) == (shell.path, ())
    assert (config.server.port, config.server.host, config.server.workers) == (9000, "0.0.0.0", 2)  # noqa: S104
    assert config.server.log == "json"
    assert list(config.providers) == ["echo", "openai"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError(["models.x: no"]), "{path}: models.x: no"),
        (BadPepper("keys.pepper: no"), "keys.pepper: no"),
        (OSError(98, "Address already in use"), "the system: Address already in use"),
    ],
)
def test_what_stops_the_start_is_one_line(shell: Shell, error: Exception, line: str) -> None:
    def fail(*_: object) -> None:
        raise error

    shell.run_server = fail
    assert shell.failure("serve") == line.format(path=shell.path)


def test_a_faulty_configuration_stops_every_command(shell: Shell) -> None:
    shell.path.write_text("[server]\nprot = 1\nport = -1\n")
    for command in (["serve"], ["check"], ["keys", "list"], ["usage"], ["calls"]):
        lines = shell.run(*command, code=1).stderr.splitlines()
        assert lines == [
            f"sluice: {shell.path}:2: server.prot = 1: unknown setting; did you mean port?",
            f"sluice: {shell.path}:3: server.port = -1: must be between 0 and 65535",
        ]
    assert shell.started == []


def test_a_missing_configuration_is_named(shell: Shell) -> None:
    shell.path.unlink()
    assert shell.failure("check") == f"{shell.path}: cannot be read: No such file or directory"


def test_a_broken_database_is_one_line(shell: Shell) -> None:
    shell.run("keys", "list")
    (shell.path.parent / "state" / "sluice.db").write_bytes(b"no database" * 1000)
    assert shell.failure("keys", "list").endswith("file is not a database")
    assert shell.failure("usage") == "the database: file is not a database"


def test_serve_imports_neither_rich_nor_reports() -> None:
    script = (
        "import sys\n"
        "from gateway.cli import main\n"
        "main(['serve', '--help'], standalone_mode=False)\n"
        "print(sorted({'rich', 'aiosqlite', 'litellm', 'starlette', 'gateway.store.reports'} "
        "& set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
