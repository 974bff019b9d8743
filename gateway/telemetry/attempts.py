"""Attempts: what does a trace hold of each?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.exchange import Call
from gateway.telemetry.answers import Observed
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, AttemptStarted, Fact


@dataclass(slots=True)
class Attempt:
    """The facts of one attempt; None for what has not happened."""

    started: AttemptStarted
    sent: AttemptSent | None = None
    answered: AttemptAnswered | None = None
    ended: AttemptEnded | None = None
    observed: Observed | None = None


_PART_OF: dict[type[Fact], str] = {
    AttemptSent: "sent",
    AttemptAnswered: "answered",
    AttemptEnded: "ended",
    Observed: "observed",
}


def attempts(call: Call) -> list[Attempt]:
    """In the order in which they began. They may overlap."""
    found: dict[int, Attempt] = {}
    for fact in call.trace.facts:
        if isinstance(fact, AttemptStarted):
            found[fact.number] = Attempt(fact)
        elif (part := _PART_OF.get(type(fact))) is not None:
            numbered: Any = fact
            setattr(found[numbered.number], part, fact)
    return list(found.values())
