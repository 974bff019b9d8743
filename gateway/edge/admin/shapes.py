"""Shapes: what may stand in a body, in a query or in an answer?

One description serves twice: it reads and checks what is sent, and it is the schema in the OpenAPI
document, which the tests hold the answers against. `param` is the place of a value as errors name
it: `settings.rpm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.errors import InvalidRequest

JSON = dict[str, Any]

_LARGEST = 2**62


class Shape(Protocol):
    """A kind of value."""

    def schema(self) -> JSON:
        """As JSON Schema (2020-12)."""

    def read(self, value: Any, param: str) -> Any:
        """The checked value of a body. Raises `InvalidRequest`."""


class Parameter(Shape, Protocol):
    """A kind of value that can stand in a query as well."""

    def parse(self, text: str, param: str) -> Any:
        """The checked value of a text. Raises `InvalidRequest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string; printable, and not only blanks, unless it may be `free`."""

    least: int = 1
    most: int = 256
    choices: Sequence[str] = ()
    free: bool = False

    def schema(self) -> JSON:
        if self.choices:
            return {"type": "string", "enum": list(self.choices)}
        return {"type": "string"} if self.free else {"type": "string", "maxLength": self.most}

    def read(self, value: Any, param: str) -> str:
        if not isinstance(value, str):
            raise _wrong_type(param, "a string")
        if self.choices and value not in self.choices:
            raise invalid(param, f"must be one of {', '.join(self.choices)}")
        if self.free:
            return value
        if len(value) > self.most:
            raise invalid(param, f"is longer than {self.most} characters")
        if len(value.strip()) < self.least or not value.isprintable():
            raise invalid(param, "must be printable text and not empty")
        return value

    def parse(self, text: str, param: str) -> str:
        return self.read(text, param)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An integer."""

    least: int = 0
    most: int = _LARGEST

    def schema(self) -> JSON:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def read(self, value: Any, param: str) -> int:
        if type(value) is not int:
            raise _wrong_type(param, "an integer")
        if not self.least <= value <= self.most:
            raise invalid(param, f"must be between {self.least} and {self.most}")
        return value

    def parse(self, text: str, param: str) -> int:
        if not text.isdecimal() or len(text) > 19:
            raise _wrong_type(param, "an integer")
        return self.read(int(text), param)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number that may have a fraction; never negative."""

    most: float = float(_LARGEST)

    def schema(self) -> JSON:
        return {"type": "number", "minimum": 0}

    def read(self, value: Any, param: str) -> float:
        if type(value) not in (int, float):
            raise _wrong_type(param, "a number")
        if not 0 <= value <= self.most:
            raise invalid(param, f"must be between 0 and {self.most:g}")
        return float(value)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def schema(self) -> JSON:
        return {"type": "boolean"}

    def read(self, value: Any, param: str) -> bool:
        if not isinstance(value, bool):
            raise _wrong_type(param, "true or false")
        return value

    def parse(self, text: str, param: str) -> bool:
        if text not in ("true", "false"):
            raise _wrong_type(param, "true or false")
        return text == "true"


@dataclass(frozen=True, slots=True)
class Maybe:
    """Something, or null."""

    inner: Shape

    def schema(self) -> JSON:
        inner = self.inner.schema()
        if "enum" not in inner and isinstance(inner.get("type"), str):
            return {**inner, "type": [inner["type"], "null"]}
        return {"anyOf": [inner, {"type": "null"}]}

    def read(self, value: Any, param: str) -> Any:
        return None if value is None else self.inner.read(value, param)


@dataclass(frozen=True, slots=True)
class Many:
    """An array."""

    inner: Shape
    most: int = 1000

    def schema(self) -> JSON:
        return {"type": "array", "items": self.inner.schema()}

    def read(self, value: Any, param: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong_type(param, "an array")
        if len(value) > self.most:
            raise invalid(param, f"has more than {self.most} items")
        return [self.inner.read(item, f"{param}[{n}]") for n, item in enumerate(value)]


@dataclass(frozen=True, slots=True)
class Several:
    """Several values of a query: repeated, or with commas; each once."""

    inner: Parameter

    def schema(self) -> JSON:
        return {"type": "array", "items": self.inner.schema()}

    def read(self, value: Any, param: str) -> list[Any]:
        return [self.inner.read(item, param) for item in value]

    def parse(self, text: str, param: str) -> list[Any]:
        return [self.inner.parse(item, param) for item in text.split(",") if item]


@dataclass(frozen=True, slots=True)
class Named:
    """An object whose names are the caller's own."""

    inner: Shape
    most: int = 1000

    def schema(self) -> JSON:
        return {"type": "object", "additionalProperties": self.inner.schema()}

    def read(self, value: Any, param: str) -> JSON:
        if not isinstance(value, dict):
            raise _wrong_type(param, "an object")
        if len(value) > self.most:
            raise invalid(param, f"has more than {self.most} names")
        return {name: self.inner.read(item, f"{param}.{name}") for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with known fields; all are there, but for the `optional` ones.

    One with a `name` is a component of the OpenAPI document.
    """

    fields: Mapping[str, Shape]
    optional: Mapping[str, Shape] = field(default_factory=dict)
    name: str | None = None

    def schema(self) -> JSON:
        if self.name is not None:
            return {"$ref": f"#/components/schemas/{self.name}"}
        return self.whole()

    def whole(self) -> JSON:
        """The schema itself, where `schema` may only refer to it."""
        known = {**self.fields, **self.optional}
        return {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in known.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }

    def read(self, value: Any, param: str) -> JSON:
        if not isinstance(value, dict):
            raise _wrong_type(param, "an object")
        known = {**self.fields, **self.optional}
        for name in value:
            if name not in known:
                raise InvalidRequest(
                    f"Unknown field: {_at(param, name)}. Known here: {', '.join(known)}.",
                    param=_at(param, name),
                    code="unknown_parameter",
                )
        for name in self.fields:
            if name not in value:
                raise InvalidRequest(
                    f"Missing field: {_at(param, name)}.",
                    param=_at(param, name),
                    code="missing_required_parameter",
                )
        return {name: known[name].read(item, _at(param, name)) for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON object: what it holds is described elsewhere."""

    def schema(self) -> JSON:
        return {"type": "object"}

    def read(self, value: Any, param: str) -> Any:
        return value


def invalid(param: str, fault: str) -> InvalidRequest:
    """A value that cannot be: `fault` goes on after the parameter's name."""
    return InvalidRequest(f"{param or 'The body'} {fault}.", param=param, code="invalid_value")


def _wrong_type(param: str, wanted: str) -> InvalidRequest:
    message = f"{param or 'The body'} must be {wanted}."
    return InvalidRequest(message, param=param or None, code="invalid_type")


def _at(param: str, name: str) -> str:
    return f"{param}.{name}" if param else name
