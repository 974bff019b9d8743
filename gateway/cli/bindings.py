"""Bindings on the command line: `openai=research` binds to a named credential of a provider."""

from __future__ import annotations

from collections.abc import Iterable

import click

from gateway.cli.deployment import Deployment
from gateway.tables import suggestion


def parsed(pairs: Iterable[str], deployment: Deployment) -> dict[str, str]:
    """Credential names by provider, all of which are known there."""
    given = [_split(pair) for pair in pairs]
    if not given:
        return {}
    known = {
        provider["name"]: [held["name"] for held in provider["credentials"]]
        for provider in deployment.ask("GET", "providers")["data"]
    }
    for provider, name in given:
        _require(provider, name, known)
    return dict(given)


def _split(pair: str) -> tuple[str, str]:
    provider, equals, credential = pair.partition("=")
    if not equals or not provider or not credential:
        raise click.UsageError(f"{pair!r} is not PROVIDER=CREDENTIAL.")
    return provider, credential


def _require(provider: str, credential: str, known: dict[str, list[str]]) -> None:
    pair = f"{provider}={credential}"
    if provider not in known:
        near = suggestion(provider, known)
        raise click.UsageError(f"{pair!r}: no provider is called {provider!r}; {near}.")
    if credential not in known[provider]:
        near = suggestion(credential, known[provider])
        raise click.UsageError(f"{pair!r}: {provider} has no credential {credential!r}; {near}.")
