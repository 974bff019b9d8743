"""Settings of keys and teams: which are there, and what may they be?

A policy that can be told something per key names it here; the command line and the administration
check what they are given against this table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SettingValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class KeySetting:
    """One setting: its type, what it means, and the words it may be where it is one of a few."""

    kind: type[bool] | type[int] | type[float] | type[str]
    meaning: str
    choices: tuple[str, ...] = ()


SETTINGS: Mapping[str, KeySetting] = {
    "context": KeySetting(
        str,
        "When no target's window holds the prompt; before the alias's and `[context] strategy`.",
        ("lenient", "strict", "oldest", "middle"),
    ),
    "cache": KeySetting(bool, "Keep answers, and give them again to the same request."),
    "clamp": KeySetting(
        bool, "Shorten the answer to what is left of a budget, where the caller sets no limit."
    ),
    "rpm": KeySetting(int, "Calls a minute; 0 is no limit."),
    "tpm": KeySetting(int, "Tokens a minute, prompts and answers together; 0 is no limit."),
    "concurrent": KeySetting(int, "Calls at once; 0 is no limit."),
    "priority": KeySetting(int, "Who goes first where calls wait for limits: the higher; 0."),
}

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class BadSetting(ValueError):
    """A setting that is not there, or a value that it cannot have."""


def parsed(
    assignments: Sequence[str], known: Mapping[str, KeySetting] | None = None
) -> dict[str, Any]:
    """`name=value` texts to values; `name=` alone removes, as None. Raises `BadSetting`."""
    known = SETTINGS if known is None else known
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise BadSetting(f"{assignment!r} is not name=value")
        if name not in known:
            raise BadSetting(
                f"there is no setting {name!r}; there are: {', '.join(known) or 'none'}"
            )
        found[name] = _value(name, text, known[name]) if text else None
    return found


def _value(name: str, text: str, setting: KeySetting) -> SettingValue:
    try:
        value = _WORDS[text.lower()] if setting.kind is bool else setting.kind(text)
    except (KeyError, ValueError):
        raise BadSetting(f"{name} must be {_wanted(setting)}, not {text!r}") from None
    if setting.choices and value not in setting.choices:
        raise BadSetting(f"{name} must be {_wanted(setting)}, not {text!r}")
    if isinstance(value, int | float) and value < 0:
        raise BadSetting(f"{name} must not be negative")
    return value


def _wanted(setting: KeySetting) -> str:
    if setting.choices:
        return " or ".join(setting.choices)
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[
        setting.kind
    ]
