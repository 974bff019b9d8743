"""Settings on the command line: `name=value` texts to what the store takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from gateway import keysettings

assignments = click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")


def parsed_settings(given: Sequence[str]) -> dict[str, Any]:
    """Values by name; None for one that is to be removed (`NAME=`)."""
    try:
        return keysettings.parsed(given)
    except keysettings.BadSetting as error:
        raise click.UsageError(f"{error}.") from None


def assigned(settings: Mapping[str, Any]) -> str:
    """As they would be given again."""
    return " ".join(f"{name}={_text(value)}" for name, value in settings.items()) or "nothing"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
