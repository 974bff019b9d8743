"""The command line: which commands are there?

Only the command that was asked for is imported, so that `serve` starts without tables and reports.
"""

import click

from gateway import __version__
from gateway.cli.commands import Commands
from gateway.cli.hooks import Hooks

__all__ = ["Hooks", "main"]

main = Commands(
    name="sluice",
    help="An OpenAI-compatible gateway: keys, costs and fallbacks for every model provider.",
    epilog="""\b
Examples:
  sluice serve
  sluice keys create laptop --team research
  sluice usage --by team --since 30d
  sluice keys list --url https://gateway.example.com
""",
    modules={
        "serve": "gateway.cli.serve:serve",
        "check": "gateway.cli.check:check",
        "doctor": "gateway.cli.doctor:doctor",
        "status": "gateway.cli.status:status",
        "top": "gateway.cli.top:top",
        "reload": "gateway.cli.reload:reload",
        "keys": "gateway.cli.keys:keys",
        "teams": "gateway.cli.teams:teams",
        "budgets": "gateway.cli.budgets:budgets",
        "credentials": "gateway.cli.credentials:credentials",
        "prices": "gateway.cli.prices:prices",
        "targets": "gateway.cli.targets:targets",
        "cache": "gateway.cli.cache:cache",
        "usage": "gateway.cli.usage:usage",
        "calls": "gateway.cli.calls:calls",
        "export": "gateway.cli.export:export",
        "recost": "gateway.cli.recost:recost",
        "prune": "gateway.cli.prune:prune_command",
        "explain": "gateway.cli.explain:explain",
        "audit": "gateway.cli.audit:audit",
        "admin-key": "gateway.cli.admin_key:admin_key",
        "encryption-key": "gateway.cli.encryption_key:encryption_key",
        "completion": "gateway.cli.completion:completion",
    },
)

click.version_option(__version__, message="sluice %(version)s")(main)
