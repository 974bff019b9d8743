"""Operations: what is one method of one path, and what is it asked?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import Scope

from gateway.edge.admin.shapes import (
    JSON,
    Fields,
    Many,
    Maybe,
    Parameter,
    Several,
    Shape,
    Text,
    Whole,
    invalid,
)
from gateway.errors import InvalidRequest
from gateway.store.audit import Via

MOST_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request that was admitted, and whose parts were checked. `query` has what was given."""

    via: Via
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    scope: Scope


Act = Callable[[Ask], Awaitable[JSON | Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `path` is below the API's base; `open`: anyone may ask.

    `answer` is the shape of what `act` returns; an act that returns a `Response` made its own.
    """

    method: str
    path: str
    summary: str
    act: Act
    answer: Shape
    query: Mapping[str, Parameter] = field(default_factory=dict)
    body: Fields | None = None
    status: int = 200
    open: bool = False
    media_type: str = "application/json"


PAGING: Mapping[str, Parameter] = {"limit": Whole(least=1, most=MOST_ROWS), "after": Text()}
"""What every list is asked with."""


def page_of(row: Shape) -> Fields:
    """The shape of a list: `next` is the `after` of the next page, null at the end."""
    return Fields({"object": Text(choices=("list",)), "data": Many(row), "next": Maybe(Text())})


def page(rows: list[Any], after: str | None = None) -> JSON:
    """A list as it is answered."""
    return {"object": "list", "data": rows, "next": after}


def parse_query(raw: bytes, shapes: Mapping[str, Parameter]) -> dict[str, Any]:
    """The checked parameters of a query. Raises `InvalidRequest`, also for unknown ones."""
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("The query is not UTF-8.", code="invalid_value") from None
    for name, text in pairs:
        shape = shapes.get(name)
        if shape is None:
            known = ", ".join(shapes) or "none"
            message = f"Unknown parameter: {name}. Known here: {known}."
            raise InvalidRequest(message, param=name, code="unknown_parameter")
        value = shape.parse(text, name)
        if isinstance(shape, Several):
            value = list(dict.fromkeys([*found.get(name, []), *value]))
        elif name in found:
            raise invalid(name, "is given more than once")
        found[name] = value
    return found
