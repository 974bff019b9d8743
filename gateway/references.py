"""References: where does a secret or an address come from?

`env:NAME` is an environment variable, `file:PATH` a file's content (relative to the configuration
file); anything else is the value itself. A question mark after either, as in `env:NAME?`, makes
it optional. An empty variable or file counts as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Missing:
    """What a reference names is not there. `what` says so without any value."""

    what: str
    optional: bool = False


def is_reference(text: str) -> bool:
    return text.startswith(("env:", "file:"))


def dereference(text: str, environ: Mapping[str, str], base_dir: Path) -> str | Missing:
    """The value behind `text`, without white space at its end."""
    if not is_reference(text):
        return text
    scheme, _, name = text.partition(":")
    optional = name.endswith("?")
    name = name.removesuffix("?")
    if scheme == "env":
        value = environ.get(name, "").strip()
        return value or Missing(f"environment variable {name}", optional)
    try:
        value = (base_dir / Path(name).expanduser()).read_text("utf-8").strip()
    except (OSError, ValueError):  # ValueError: not UTF-8, or a null byte in the name
        return Missing(f"readable file {name}", optional)
    return value or Missing(f"content in file {name}", optional)
