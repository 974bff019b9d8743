"""Verdicts of `sluice doctor`: what was looked at, and is it well?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line. `advice` says what to do where it is not well."""

    check: str
    state: State
    found: str
    advice: str | None = None


Verdicts = Iterator[Verdict]


def ok(check: str, found: str) -> Verdict:
    return Verdict(check=check, state="ok", found=found)


def warn(check: str, found: str, advice: str) -> Verdict:
    return Verdict(check=check, state="warn", found=found, advice=advice)


def fail(check: str, found: str, advice: str) -> Verdict:
    return Verdict(check=check, state="fail", found=found, advice=advice)


def skip(check: str, found: str) -> Verdict:
    """Not looked at."""
    return Verdict(check=check, state="skip", found=found)
