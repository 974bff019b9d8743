"""Groups of commands: imported when asked for, and every failure is one line on standard error."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from importlib import import_module
from typing import IO, Any

import click

from gateway.config import ConfigError
from gateway.store.faults import StoreFault


class Failure(click.ClickException):
    """What stopped a command; each line of the message stands for itself."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"sluice: {line}", file=file, err=True)


class Misuse(Failure):
    """The command line itself is wrong."""

    exit_code = 2


class Commands(click.Group):
    """A group; without a command it shows its help. `modules` names commands not imported yet."""

    def __init__(self, *args: Any, modules: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        kwargs["invoke_without_command"] = True
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **kwargs)
        self._modules = modules or {}
        self.callback = self.callback or _show_help

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._modules, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._modules:
            module, _, name = self._modules[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _misuse(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _misuse(error) from None
        except (ConfigError, StoreFault) as error:
            raise Failure(str(error)) from None
        except sqlite3.Error as error:
            raise Failure(f"the database: {error}") from None
        except BrokenPipeError:
            raise  # whoever reads has read enough, as `head` does: nothing is to be said
        except OSError as error:
            raise Failure(f"{error.filename or 'the system'}: {error.strerror or error}") from None


def _misuse(error: click.UsageError) -> Misuse:
    path = error.ctx.command_path if error.ctx else "sluice"
    return Misuse(f"{error.format_message()} See {path} --help.")


@click.pass_context
def _show_help(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
