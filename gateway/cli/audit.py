"""`sluice audit`: who changed what?"""

from __future__ import annotations

import click

from gateway.cli.deployment import Deployment, administered, listed
from gateway.cli.output import Column, Format, print_rows
from gateway.cli.times import moment

_NAMES = ("id", "at_ms", "who", "via", "action", "object", "before", "after")
_LIST = (
    Column("at_ms", "time (UTC)", moment),
    Column("via", "via"),
    Column("action", "what", style="bold"),
    Column("object", "of"),
    Column("before", "before"),
    Column("after", "after"),
)


@click.command(
    epilog="""\b
Examples:
  sluice audit
  sluice audit --object 3f2a9c1e
  sluice audit --action key.revoke --limit 100 --format csv
"""
)
@click.option("--object", "object_id", metavar="ID", help="Changes of this id or name.")
@click.option("--action", help="Changes of this kind, such as key.create.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@click.option("--format", "how", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@administered
def audit(
    object_id: str | None,
    action: str | None,
    limit: int,
    how: Format,
    as_json: bool,
    deployment: Deployment,
) -> None:
    """List the changes that administrators made, the latest first; no secret is in them."""
    rows = listed(deployment, "audit", most=limit, object=object_id, action=action)
    if how == "csv" and not as_json:
        print_rows(rows, [Column(name, name) for name in _NAMES], "csv")
    else:
        print_rows(rows, _LIST, "json" if as_json else how)
