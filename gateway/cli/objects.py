"""Objects by name: which key or credential does a command mean?"""

from __future__ import annotations

from typing import Any

import click

from gateway.cli.commands import Failure
from gateway.cli.deployment import Deployment, NotThere, listed


def found_key(deployment: Deployment, wanted: str) -> dict[str, Any]:
    """The key with this id, or the only working key with this name. Raises `Failure`."""
    known = _key_of_id(deployment, wanted)
    if known is not None:
        return known
    named: list[dict[str, Any]] = [
        k for k in listed(deployment, "keys", state="active") if k["name"] == wanted
    ]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(key["id"] for key in named)
        raise Failure(f"{len(named)} keys are called {wanted!r}; use an id: {ids}")
    raise NotThere(f"no key has the id or the name {wanted!r}; see sluice keys list --all")


def key_id(deployment: Deployment, wanted: str | None) -> str | None:
    """The id behind an id or a name, of ended keys as well: reports know them.

    An id that no key has any more may still stand in the ledger. Raises `click.UsageError`.
    """
    if wanted is None or _key_of_id(deployment, wanted) is not None:
        return wanted
    ids = [key["id"] for key in listed(deployment, "keys") if key["name"] == wanted]
    if len(ids) == 1:
        return str(ids[0])
    fault = f"is the name of several keys: {', '.join(ids)}" if ids else "is no key's id or name"
    raise click.UsageError(f"{wanted!r} {fault}.")


def _key_of_id(deployment: Deployment, wanted: str) -> dict[str, Any] | None:
    if "/" in wanted or not wanted.strip() or wanted in (".", ".."):
        return None
    try:
        found: dict[str, Any] = deployment.ask("GET", "keys", wanted)
    except NotThere:
        return None
    return found


def found_credential(deployment: Deployment, wanted: str) -> dict[str, Any]:
    """The stored credential with this id, or the one called PROVIDER/NAME. Raises `Failure`."""
    for held in listed_credentials(deployment):
        if wanted in (held["id"], f"{held['provider']}/{held['name']}"):
            return held
    raise NotThere(f"no stored credential is {wanted!r}; see sluice credentials list")


def listed_credentials(deployment: Deployment) -> list[dict[str, Any]]:
    """Those that are kept in the database."""
    found: list[dict[str, Any]] = deployment.ask("GET", "credentials")["data"]
    return found
