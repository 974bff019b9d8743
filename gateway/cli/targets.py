"""`sluice targets`: how are the targets, as a running gateway sees them?"""

from __future__ import annotations

import click

from gateway.cli.commands import Commands
from gateway.cli.deployment import Deployment, running_gateway
from gateway.cli.output import Column, json_option, plain, print_json, print_rows, yes_or_no
from gateway.cli.times import moment

_LIST = (
    Column("name", "target", style="bold"),
    Column("on", "on", yes_or_no),
    Column("state", "state"),
    Column("benched_until_ms", "benched until (UTC)", moment),
    Column("in_flight", "running", right=True),
    Column("latency_ms", "latency", lambda ms: "-" if ms is None else f"{ms:.0f} ms", right=True),
    Column("attempts", "attempts", right=True),
    Column("errors", "errors", right=True),
    Column("aliases", "serves"),
)
_REFUSED = (
    Column("provider", "provider", style="bold"),
    Column("credential", "refused credential"),
    Column("model", "for"),
    Column("state", "state"),
    Column("benched_until_ms", "benched until (UTC)", moment),
)


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sluice targets
  sluice targets reset openai/gpt-4o
  sluice targets --url https://gateway.example.com --json

Health is known to running processes only: without --url the gateway of the configuration on this
machine is asked. Of several workers one answers.
""",
)
@json_option
@running_gateway
@click.pass_context
def targets(ctx: click.Context, /, as_json: bool, deployment: Deployment) -> None:
    """List the targets with their health and load; `targets reset` forgets failures of one."""
    if ctx.invoked_subcommand is not None:
        return
    seen = deployment.ask("GET", "targets")
    if as_json:
        print_json({name: seen[name] for name in ("process", "data", "credentials")})
        return
    print_rows(seen["data"], _LIST)
    if seen["credentials"]:
        print_rows(seen["credentials"], _REFUSED)
    click.echo(f"As process {plain(seen['process'])} sees it, of about the last minute.", err=True)


@targets.command(epilog="\b\nExample:\n  sluice targets reset openai/gpt-4o\n")
@click.argument("target", metavar="PROVIDER/MODEL")
@json_option
@running_gateway
def reset(target: str, as_json: bool, deployment: Deployment) -> None:
    """Forget a target's failures, and those of its credentials, so that it is tried at once."""
    done = deployment.ask("POST", "targets", target, "reset")
    if as_json:
        print_json(done)
    else:
        click.echo(f"Target {target} is {done['target']['state']}, in process {done['process']}.")
