"""Checkers: is a JSON value of the type that a field must have?

A checker is a function of a value that returns nothing or raises a `Fault`. The functions here
make checkers; `gateway.wire.chat` is the table that is made with them. Fields that a table does
not name are allowed, everywhere. An optional field may also be null: clients send both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from gateway.wire.fault import Fault, missing, shortened, wrong_type

Check = Callable[[Any], None]


def typed(expected: str, *types: type) -> Check:
    """A value of exactly one of these types: a boolean is no integer here."""
    allowed = frozenset(types)

    def check(value: Any) -> None:
        if type(value) not in allowed:
            raise wrong_type(expected, value)

    return check


string = typed("a string", str)
boolean = typed("a boolean", bool)
integer = typed("an integer", int)
number = typed("a number", int, float)
mapping = typed("an object", dict)


def whole(least: int, most: int | None = None) -> Check:
    """An integer within bounds."""

    def check(value: Any) -> None:
        integer(value)
        if value < least:
            problem, code = f">= {least}", "integer_below_min_value"
        elif most is not None and value > most:
            problem, code = f"<= {most}", "integer_above_max_value"
        else:
            return
        raise Fault(f"Invalid {{param}}: expected a value {problem}, but got {value}.", code)

    return check


def label(most: int) -> Check:
    """A short name: not empty, and nothing in it that a log or a header could not show."""

    def check(value: Any) -> None:
        string(value)
        if len(value) > most:
            problem, code = f"expected at most {most} characters", "string_above_max_length"
        elif not value.strip():
            problem, code = "expected a string that is not empty", "empty_string"
        elif not value.isprintable():
            problem, code = "control characters are not allowed", "invalid_value"
        else:
            return
        raise Fault(f"Invalid {{param}}: {problem}.", code)

    return check


def array(expected: str, item: Check, *, least: int = 0, most: int | None = None) -> Check:
    """A list whose items all pass."""

    def check(value: Any) -> None:
        if type(value) is not list:
            raise wrong_type(expected, value)
        if len(value) < least:
            raise Fault("Invalid {param}: expected a non-empty array.", "empty_array")
        if most is not None and len(value) > most:
            raise Fault(f"Invalid {{param}}: at most {most} items.", "array_above_max_length")
        for index, each in enumerate(value):
            try:
                item(each)
            except Fault as fault:
                fault.inside(index)
                raise

    return check


def mapping_of(expected: str, item: Check) -> Check:
    """An object of any keys whose values all pass."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise wrong_type(expected, value)
        for key, each in value.items():
            try:
                item(each)
            except Fault as fault:
                fault.inside(key)
                raise

    return check


def string_or(expected: str, kind: type, other: Check) -> Check:
    """A string, or a value of `kind` that passes `other`."""

    def check(value: Any) -> None:
        if type(value) is kind:
            other(value)
        elif type(value) is not str:
            raise wrong_type(expected, value)

    return check


def record(
    required: Mapping[str, Check],
    optional: Mapping[str, Check] = MappingProxyType({}),
    *,
    closed: bool = False,
) -> Check:
    """An object with these fields. `closed`: and with no others."""
    fields = {**required, **optional}
    field = fields.get
    unknown = _refusing(fields) if closed else None

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise wrong_type("an object", value)
        for name in required:
            if name not in value:
                raise missing(name)
        for key, item in value.items():
            check_item = field(key, unknown)
            if check_item is None or (item is None and key in optional):
                continue
            try:
                check_item(item)
            except Fault as fault:
                fault.inside(key)
                raise

    return check


def tagged(tag: str, variants: Mapping[str, Check], other: Check | None = None) -> Check:
    """An object whose string `tag` says which checker it must pass. No `other`: a closed list."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise wrong_type("an object", value)
        if tag not in value:
            raise missing(tag)
        name = value[tag]
        if type(name) is not str:
            fault = wrong_type("a string", name)
            fault.inside(tag)
            raise fault
        variant = variants.get(name, other)
        if variant is None:
            raise _unsupported(tag, name, variants)
        variant(value)

    return check


def _refusing(fields: Collection[str]) -> Check:
    known = ", ".join(fields)

    def check(value: Any) -> None:
        raise Fault(f"Unknown parameter: {{param}}. Known here: {known}.", "unknown_parameter")

    return check


def _unsupported(tag: str, name: str, variants: Collection[str]) -> Fault:
    supported = ", ".join(f"'{variant}'" for variant in variants)
    problem = f"Invalid value for {{param}}: '{shortened(name)}'. Supported: {supported}."
    return Fault(problem, "invalid_value", tag)
