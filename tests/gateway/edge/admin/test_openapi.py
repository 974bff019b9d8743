"""Is the OpenAPI document true, and a document?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator, ValidationError
from starlette.routing import Route

from gateway.edge.admin.endpoint import Endpoint
from gateway.edge.admin.openapi import document
from gateway.edge.admin.routes import BASE, operations
from tests.gateway.edge.admin.operator import Gateway, validate

NO_PARTS: Any = None
OPERATIONS = operations(NO_PARTS)
DOCUMENT = document(BASE, OPERATIONS)


def described() -> Iterator[tuple[str, str, Any]]:
    for path, place in DOCUMENT["paths"].items():
        for method, operation in place.items():
            yield method.upper(), path, operation


async def test_it_is_served_to_anyone_and_names_every_route(gateway: Gateway) -> None:
    assert await gateway.document() == DOCUMENT
    routes = {
        (method, re.sub(r":\w+", "", route.path))
        for route in gateway.app.routes
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint)
        for method in route.endpoint.methods
    }
    assert {(method, path) for method, path, _ in described()} == routes


def test_names_are_unique_and_parameters_of_paths_are_there() -> None:
    names = [operation["operationId"] for _, _, operation in described()]
    assert len(names) == len(set(names))
    for _, path, operation in described():
        parameters = operation.get("parameters", [])
        in_path = [p["name"] for p in parameters if p["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        assert all(p["required"] for p in parameters if p["in"] == "path")
        assert operation["summary"]


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    text = orjson.dumps(DOCUMENT).decode()
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(re.findall(r'"\$ref":"([^"]+)"', text)) <= known
    for schema in schemas(DOCUMENT):
        Draft202012Validator.check_schema(schema)


def schemas(node: Any) -> Iterator[Any]:
    """Everything under `schema` and in the components."""
    if isinstance(node, dict):
        if "schema" in node:
            yield node["schema"]
        yield from node.get("schemas", {}).values()
        for item in node.values():
            yield from schemas(item)
    elif isinstance(node, list):
        for item in node:
            yield from schemas(item)


def test_what_is_open_says_so() -> None:
    no_key = {(method, path) for method, path, op in described() if op.get("security") == []}
    assert no_key == {("POST", f"{BASE}/session"), ("GET", f"{BASE}/openapi.json")}
    used = {name for scheme in DOCUMENT["security"] for name in scheme}
    assert used == set(DOCUMENT["components"]["securitySchemes"])


@pytest.mark.parametrize(
    "key", [{}, {"id": "k", "more": 1}, {"id": 5}], ids=["missing", "additional", "type"]
)
def test_an_answer_that_is_not_as_described_is_noticed(key: Any) -> None:
    with pytest.raises(ValidationError):
        validate(DOCUMENT, {"$ref": "#/components/schemas/Key"}, key)
