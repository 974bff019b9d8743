"""Faults: where in the caller's body is something wrong, and what?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.errors import InvalidRequest

# The body is the caller's: a path must not become as long as they like.
_MAX_NAME = 64
_MAX_STEPS = 12

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a decimal number",
    bool: "a boolean",
    type(None): "null",
}


class Fault(Exception):
    """Something wrong at one place of the body. The path grows while the fault travels outwards.

    `problem` is the message, with `{param}` where the path belongs.
    """

    def __init__(self, problem: str, code: str | None, *path: str | int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code
        self.steps: list[str | int] = list(reversed(path))

    def inside(self, step: str | int) -> None:
        """Found inside this member or item."""
        self.steps.append(step)

    def refusal(self) -> InvalidRequest:
        """The error that the caller receives."""
        param = path_text(reversed(self.steps))
        where = f"'{param}'" if param else "the body"
        message = self.problem.replace("{param}", where)
        return InvalidRequest(message, param=param or None, code=self.code)


def path_text(steps: Iterable[str | int]) -> str:
    """OpenAI's way to name a place: `messages[2].content[0].text`."""
    text = ""
    for number, step in enumerate(steps):
        if number == _MAX_STEPS:
            return f"{text}…"
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{shortened(step)}" if text else shortened(step)
    return text


def shortened(name: str) -> str:
    """A name of the caller's, as far as a message repeats it."""
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"


def wrong_type(expected: str, value: Any) -> Fault:
    found = _KINDS[type(value)]
    return Fault(
        f"Invalid type for {{param}}: expected {expected}, but got {found} instead.",
        "invalid_type",
    )


def missing(name: str) -> Fault:
    return Fault("Missing required parameter: {param}.", "missing_required_parameter", name)
