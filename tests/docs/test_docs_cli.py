"""Are all commands and options documented, and no others?"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from gateway.cli import main
from tests.docs.documents import Document, codes

CLI = Document.read("docs/cli.md")


def commands(
    group: click.Group, path: tuple[str, ...] = ("sluice",)
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        here = (*path, name)
        if not isinstance(command, click.Group) or option_names(command):
            yield " ".join(here), command
        if isinstance(command, click.Group):
            yield from commands(command, here)


def option_names(command: click.Command) -> set[str]:
    options = (p for p in command.params if isinstance(p, click.Option) and not p.hidden)
    return {name for option in options for name in option.opts if name.startswith("--")}


COMMANDS = dict(commands(main))


def test_every_command_is_documented_and_no_other() -> None:
    titles = [title for title in CLI.headings() if title.startswith("`sluice")]
    assert titles == [f"`{name}`" for name in titles_in_order(titles)]
    assert {title.strip("`") for title in titles} == set(COMMANDS)


def titles_in_order(titles: list[str]) -> list[str]:
    names = [title.strip("`") for title in titles]
    assert len(names) == len(set(names)), "a command has two sections"
    return names


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    command = COMMANDS[name]
    cells = [codes(row[0])[0] for row in CLI.section(f"`{name}`").rows()]
    assert {cell.split()[0] for cell in cells} == option_names(command)
    for option in command.params:
        if isinstance(option, click.Option) and isinstance(option.type, click.Choice):
            (cell,) = (cell for cell in cells if cell.split()[0] in option.opts)
            assert cell.endswith(f"[{'|'.join(option.type.choices)}]")
