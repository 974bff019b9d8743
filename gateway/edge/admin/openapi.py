"""`/openapi.json`: which routes are there, what do they take, and what do they answer?

The document is made of the same operations that the routes are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from gateway import __version__
from gateway.edge.admin.operation import Ask, Operation
from gateway.edge.admin.sessions import COOKIE
from gateway.edge.admin.shapes import (
    JSON,
    Anything,
    Fields,
    Many,
    Maybe,
    Named,
    Several,
    Shape,
    Text,
)

ERROR = Fields(
    {
        "error": Fields(
            {
                "message": Text(free=True),
                "type": Text(free=True),
                "param": Maybe(Text(free=True)),
                "code": Maybe(Text(free=True)),
            }
        )
    },
    name="Error",
)


class OpenAPI:
    """The document, made once."""

    def __init__(self, base: str, operations: Sequence[Operation]) -> None:
        self._base = base
        self._operations = [*operations, *self.operations()]
        self._document: JSON | None = None

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method="GET",
            path="/openapi.json",
            summary="This document.",
            act=self.show,
            answer=Anything(),
            open=True,
        )

    async def show(self, ask: Ask) -> JSON:
        if self._document is None:
            self._document = document(self._base, self._operations)
        return self._document


def document(base: str, operations: Sequence[Operation]) -> JSON:
    """OpenAPI 3.1."""
    paths: dict[str, JSON] = {}
    for operation in operations:
        place = paths.setdefault(base + operation.path.replace(":path", ""), {})
        place[operation.method.lower()] = _operation(operation)
    named = {shape.name: shape.whole() for shape in _components(operations)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice: administration", "version": __version__},
        "paths": paths,
        "security": [{"key": []}, {"x_api_key": []}, {"api_key": []}, {"session": []}],
        "components": {
            "schemas": dict(sorted(named.items(), key=lambda item: str(item[0]))),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "api_key": {"type": "apiKey", "in": "header", "name": "api-key"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _operation(operation: Operation) -> JSON:
    described: JSON = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "responses": {
            str(operation.status): {
                "description": "Done.",
                "content": {operation.media_type: {"schema": operation.answer.schema()}},
            },
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": ERROR.schema()}},
            },
        },
    }
    if parameters := [*_in_path(operation.path), *_in_query(operation)]:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": operation.body.schema()}}
        described["requestBody"] = {
            "required": bool(operation.body.fields),
            "content": content,
        }
    if operation.open:
        described["security"] = []
    return described


def _name(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path)
    return "_".join([operation.method.lower(), *words])


def _in_path(path: str) -> Iterator[JSON]:
    for name in re.findall(r"{(\w+)[:}]", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(operation: Operation) -> Iterator[JSON]:
    for name, shape in operation.query.items():
        parameter: JSON = {"name": name, "in": "query", "schema": shape.schema()}
        yield parameter | ({"explode": False} if isinstance(shape, Several) else {})


def _components(operations: Iterable[Operation]) -> Iterator[Fields]:
    yield ERROR
    for operation in operations:
        yield from _named(operation.answer)
        if operation.body is not None:
            yield from _named(operation.body)


def _named(shape: Shape) -> Iterator[Fields]:
    """Every shape with a name within this one."""
    if isinstance(shape, Maybe | Many | Named):
        yield from _named(shape.inner)
    elif isinstance(shape, Fields):
        if shape.name is not None:
            yield shape
        for inner in (*shape.fields.values(), *shape.optional.values()):
            yield from _named(inner)
