"""Bindings on the command line: `openai=research` binds to a named credential of a provider."""

from __future__ import annotations

from collections.abc import Iterable

import click

from gateway.config import Config
from gateway.tables import suggestion


def parsed(pairs: Iterable[str], config: Config) -> dict[str, str]:
    """Credential names by provider, all of which the configuration knows."""
    return dict(_binding(pair, config) for pair in pairs)


def _binding(pair: str, config: Config) -> tuple[str, str]:
    provider, equals, credential = pair.partition("=")
    if not equals or not provider or not credential:
        raise click.UsageError(f"{pair!r} is not PROVIDER=CREDENTIAL.")
    if provider not in config.providers:
        near = suggestion(provider, config.providers)
        raise click.UsageError(f"{pair!r}: no provider is called {provider!r}; {near}.")
    names = config.providers[provider].credentials
    if credential not in names:
        near = suggestion(credential, names)
        raise click.UsageError(f"{pair!r}: {provider} has no credential {credential!r}; {near}.")
    return provider, credential
