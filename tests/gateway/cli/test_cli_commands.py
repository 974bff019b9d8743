"""Are commands found when asked for, and failures one line?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from gateway import __version__
from gateway.cli import main
from gateway.config import ConfigError
from gateway.store.faults import BadPepper
from tests.gateway.cli.conftest import Shell

COMMANDS = ("serve", "check", "keys", "teams", "admin-key", "usage", "calls", "top", "doctor")


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    shown = shell.run().stdout
    assert all(f"\n  {command} " in shown for command in COMMANDS)
    assert shell.run("--help").stdout == shown


def test_the_version_is_shown(shell: Shell) -> None:
    assert shell.run("--version").stdout == f"sluice {__version__}\n"


def commands(group: click.Group, *path: str) -> Iterator[tuple[list[str], click.Command]]:
    """Every command and group, with its name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield [*path, name], command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


EVERY = list(commands(main))


@pytest.mark.parametrize("command", [name for name, _ in EVERY], ids=" ".join)
def test_every_command_has_help_with_an_example(shell: Shell, command: list[str]) -> None:
    shown = shell.run(*command, "--help").stdout
    assert shown.startswith(f"Usage: sluice {' '.join(command)} ")
    head, _, examples = shown.partition("Example")
    assert f"sluice {command[0]}" in examples
    assert any(line.strip().startswith("-h, --help") for line in head.splitlines())


def test_every_command_that_tells_something_tells_it_as_json() -> None:
    silent = {("serve",), ("completion",)}
    for name, command in EVERY:
        options = {option for param in command.params for option in param.opts}
        if tuple(name) not in silent and not isinstance(command, click.Group):
            assert "--json" in options, name


def test_no_option_takes_an_admin_key_or_a_secret() -> None:
    for name, command in EVERY:
        for param in command.params:
            assert param.name not in ("admin_key", "secret", "api_key"), name


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: Shell, shell_name: str) -> None:
    script = shell.run("completion", shell_name).stdout
    assert f"_SLUICE_COMPLETE={shell_name}_complete" in script
    shell.failure("completion", "powershell", code=2)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("ke", {"keys"}),
        ("keys ro", {"rotate"}),
        ("usage --by pro", {"provider"}),
        ("keys list --te", {"--team"}),
        ("export us", {"usage"}),
        ("keys revoke lap", {"laptop"}),
        ("keys list --team re", {"research"}),
        ("keys revoke none", set()),
    ],
)
def test_words_are_completed(shell: Shell, words: str, completed: set[str]) -> None:
    shell.run("keys", "create", "laptop", "--team", "research")
    assert completions(shell, words) == completed


def test_a_key_is_completed_by_its_id_as_well(shell: Shell) -> None:
    key = shell.json("keys", "create", "laptop")["id"]
    assert completions(shell, f"keys show {key[:6]}") == {key}


def test_nothing_is_completed_where_anything_is_amiss(shell: Shell) -> None:
    assert completions(shell, "keys revoke l") == set()
    assert not (shell.path.parent / "state").exists()
    shell.path.write_text("nonsense")
    assert completions(shell, "keys revoke l") == set()


def completions(shell: Shell, words: str) -> set[str]:
    given = words.split()
    environ = {
        "_SLUICE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"sluice {words}",
        "COMP_CWORD": str(len(given)),
    }
    shell.environ = {**shell.environ, **environ}
    found = shell.run().stdout
    shell.environ = {k: v for k, v in shell.environ.items() if k not in environ}
    return {line.partition(",")[2] for line in found.splitlines() if line}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--foo"], "No such option '--foo'. See sluice --help."),
        (["kyes"], "No such command 'kyes'. See sluice --help."),
        (["keys", "mint"], "No such command 'mint'. See sluice keys --help."),
        (["keys", "create"], "Missing argument 'NAME'. See sluice keys create --help."),
        (["calls", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range 1<=x<="),
        (["usage", "--since", "x"], "Invalid value for '--since': 'x' is neither a span such as"),
        (
            ["prune", "--older-than", "999999w"],
            "Invalid value for '--older-than': '999999w' is not between",
        ),
        (
            ["usage", "--since", "0001-01-01"],
            "Invalid value for '--since': '0001-01-01' is not between",
        ),
        (
            ["prune", "--older-than", "9999-12-31"],
            "Invalid value for '--older-than': '9999-12-31' is not between",
        ),
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
        (OSError(98, "Address already in use", ":: port 80"), ":: port 80: Address already in use"),
        (OSError(24, "Too many open files"), "the system: Too many open files"),
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


def test_who_has_read_enough_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gateway", "completion", "bash"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, b"")
