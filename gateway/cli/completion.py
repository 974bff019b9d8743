"""`sluice completion`: the script by which a shell completes commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gateway.cli.commands import Failure

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="""\b
Examples:
  source <(sluice completion bash)
  sluice completion zsh > "${fpath[1]}/_sluice"
  sluice completion fish > ~/.config/fish/completions/sluice.fish
"""
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: commands, options, choices, keys and teams."""
    root = ctx.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"{shell} is not supported")
    name = root.info_name or "sluice"
    click.echo(kind(root.command, {}, name, f"_{name.upper()}_COMPLETE").source())
