"""`sluice check`: would the gateway start, and what would it serve?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gateway.catalog import Catalog
from gateway.cli.configuration import config_option, named_after, read
from gateway.cli.output import Column, json_option, print_json, print_rows
from gateway.config import Config
from gateway.providers import ProviderState, provider_states
from gateway.sharing import redis_url
from gateway.targets import ProviderEntry
from gateway.thirdparty import load_policies

_PROVIDERS = (
    Column("name", "provider", style="bold"),
    Column("state", "state"),
    Column("lane", "lane"),
    Column("about", "models, or what it needs"),
)
_ALIASES = (
    Column("name", "model", style="bold"),
    Column("state", "state"),
    Column("targets", "targets"),
)


@click.command(
    epilog="""\b
Examples:
  sluice check
  sluice check --config /etc/sluice/config.toml --json
"""
)
@config_option
@json_option
def check(config_path: Path, as_json: bool) -> None:
    """Check the configuration without starting, and show which providers are on and why not.

    Finds the faults that would stop the start, all at once; then the exit code is 1.
    """
    config, catalog = check_configuration(config_path)
    states = provider_states(config, os.environ, config_path.parent)
    providers = [_provider(state, catalog) for state in states]
    on = {state.name for state in states if state.entry is not None}
    aliases = [_alias(name, alias.names, on) for name, alias in config.models.items()]
    if as_json:
        print_json({"config": str(config_path), "providers": providers, "models": aliases})
        return
    print_rows(providers, _PROVIDERS)
    if aliases:
        print_rows(aliases, _ALIASES)
    click.echo(f"{config_path}: no faults; {_listening(config)}")


def check_configuration(config_path: Path) -> tuple[Config, Catalog]:
    """Raises `ConfigError` with what would stop the start, but for the database's part."""
    config = read(config_path)
    with named_after(config_path):
        catalog = Catalog.load(config.model_info)
        load_policies(config.policies, config_path.parent)
        redis_url(config, os.environ, config_path.parent)
    return config, catalog


def _provider(state: ProviderState, catalog: Catalog) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": state.name,
        "state": "off" if state.entry is None else "on",
        "missing": list(state.missing),
    }
    if state.entry is None:
        nothing: dict[str, Any] = {"lane": None, "credentials": [], "models": [], "known_models": 0}
        return row | nothing | {"about": f"needs {_needs(state.missing)}"}
    entry = state.entry
    known = catalog.names(entry.provider.kind, responses=entry.provider.lane == "library")
    return row | {
        "lane": entry.provider.lane,
        "credentials": list(entry.named),
        "models": list(entry.models),
        "known_models": len(known),
        "about": _about(entry, len(known)),
    }


def _needs(missing: tuple[str, ...]) -> str:
    return ", ".join(what.removeprefix("environment variable ") for what in missing)


def _about(entry: ProviderEntry, known: int) -> str:
    """Where its models' names come from, and who may be bound to it."""
    models = [*entry.models]
    models += [f"{known} models of litellm's table"] if known and not models else []
    models += ["what the server lists"] if entry.list_models else []
    bound = [f"credentials: {', '.join(entry.named)}"] if entry.named else []
    return "; ".join([", ".join(models) or "any model, as provider/model", *bound])


def _alias(name: str, targets: tuple[str, ...], on: set[str]) -> Mapping[str, Any]:
    served = [target for target in targets if target.partition("/")[0] in on]
    return {"name": name, "state": "on" if served else "off", "targets": list(targets)}


def _listening(config: Config) -> str:
    server = config.server
    processes = f" in {server.workers} processes" if server.workers > 1 else ""
    return f"it would listen on {server.host}:{server.port}{processes}"
