"""The installation: program, configuration, policies, providers, and files of secrets."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway import __version__
from gateway.catalog import Catalog
from gateway.cli.configuration import read
from gateway.cli.verdict import Verdict, Verdicts, fail, ok, skip, warn
from gateway.config import Config, ConfigError
from gateway.managed import Managed
from gateway.providers import ProviderState, provider_states
from gateway.sharing import redis_url
from gateway.store.masterkey import FILE_NAME
from gateway.store.sqlite import database_path
from gateway.thirdparty import load_policies

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def program() -> Verdicts:
    """The Python, and the libraries that come with it."""
    python = ".".join(map(str, sys.version_info[:3]))
    said = f"sluice {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}"
    if (3, 11) <= sys.version_info < (3, 14):
        yield ok("program", said)
    else:
        yield fail("program", said, "Use Python 3.11, 3.12 or 3.13.")


def configuration(path: Path) -> tuple[Config | None, list[Verdict]]:
    """None where it cannot be read: then there is nothing more to look at."""
    try:
        config = read(path)
        Catalog.load(config.model_info)
        redis_url(config, os.environ, path.parent)
    except ConfigError as error:
        faults = [fail("configuration", text, "Correct the file.") for text in error.problems]
        return None, faults
    return config, [ok("configuration", str(path))]


def policies(config: Config, base_dir: Path) -> Verdicts:
    """Those of others."""
    try:
        found = load_policies(config.policies, base_dir)
    except ConfigError as error:
        for text in error.problems:
            yield fail("policies", text, "Correct or remove the entry in [[policies]].")
        return
    yield ok("policies", f"{len(found)} of others") if found else skip("policies", "only our own")


def providers(config: Config, base_dir: Path, managed: Managed) -> Verdicts:
    """Which are on, why others are not, and which aliases nobody serves."""
    states = provider_states(config, os.environ, base_dir, managed)
    yield from map(_provider, states)
    on = {state.name for state in states if state.entry is not None}
    if not on:
        advice = "Set the variable of one of them, or sluice credentials add PROVIDER."
        yield fail("providers", "none is on", advice)
    for name, alias in config.models.items():
        if not any(target.partition("/")[0] in on for target in alias.names):
            advice = "Switch on one of its providers, or remove it from [models]."
            yield warn(f"model {name}", f"no provider of {', '.join(alias.names)} is on", advice)


def _provider(state: ProviderState) -> Verdict:
    check = f"provider {state.name}"
    if state.problems:
        said = "; ".join(map(str, state.problems))
        return fail(check, said, "Correct it in the configuration.")
    if state.entry is None:
        needs = (what.removeprefix("environment variable ") for what in state.missing)
        return skip(check, f"off: needs {', '.join(needs)}")
    lane = f"on, {state.entry.provider.lane} lane"
    named = len(state.entry.named)
    return ok(check, f"{lane}, {named} named credentials" if named else lane)


def secret_files(config: Config, base_dir: Path) -> Verdicts:
    """May anybody else on this machine read what opens the gateway?"""
    database = database_path(config.database.url, base_dir)
    key = config.encryption.key
    places = [
        ("database", database),
        ("pepper", _file(config.keys.pepper, base_dir)),
        ("encryption key", _file(key, base_dir) if key else database.parent / FILE_NAME),
    ]
    found = [(name, path) for name, path in places if path is not None and path.exists()]
    loose = [(name, path) for name, path in found if path.stat().st_mode & _OTHERS]
    for name, path in loose:
        yield warn(f"file of the {name}", f"{path} is open to others", f"chmod 600 {path}")
    if found and not loose:
        yield ok("files of secrets", _names([name for name, _ in found]))


def _names(names: Sequence[str]) -> str:
    return f"{', '.join(names)}: for their owner only"


def _file(reference: str, base_dir: Path) -> Path | None:
    if not reference.startswith("file:"):
        return None
    return base_dir / Path(reference.removeprefix("file:").removesuffix("?")).expanduser()
