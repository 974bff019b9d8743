"""Instances of JSON schemas: valid where the keywords are known, quick and harmless elsewhere."""

from __future__ import annotations

import time
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.instance import instance, object_instance

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "age": {"type": "integer", "minimum": 18},
        "nickname": {"type": "string"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 3}, "xxx"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"type": "string", "format": "unheard-of"}, ""),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "minimum": 4.5}, 5),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMinimum": 0}, 1),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "number", "minimum": 0.5}, 0.5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "exclusiveMinimum": -1, "maximum": 0}, -0.5),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": ["null", "string"]}, ""),
        ({"type": ["null"]}, None),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "array", "items": {"type": "string"}}, []),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["", ""]),
        (
            {"prefixItems": [{"const": 1}], "type": "array", "items": {"const": 2}, "minItems": 3},
            [1, 2, 2],
        ),
        ({"type": "object"}, {}),
        (PERSON, {"name": "xx", "age": 18}),
        ({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"a": 0}),
        ({"type": "object", "required": ["undescribed"]}, {"undescribed": None}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
        ({"type": "string", "oneOf": [{"minLength": 1}, {"minLength": 5}]}, "x"),
        (
            {
                "allOf": [
                    {"$ref": "#/$defs/A"},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ],
                "$defs": {"A": {"type": "object", "properties": {"a": {"const": 1}},
                                "required": ["a"]}},
            },
            {"a": 1, "b": 2},
        ),
        (
            {"$ref": "#/definitions/x~1y", "definitions": {"x/y": {"type": "boolean"}}},
            False,
        ),
        ({}, None),
        (True, None),
    ],
)  # fmt: skip
def test_an_instance_is_small_and_valid(schema: Any, made: Any) -> None:
    assert instance(schema) == made
    jsonschema.validate(made, schema)


def test_a_recursive_schema_is_left_as_soon_as_it_allows() -> None:
    schema = {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["value", "children"],
            }
        },
    }
    assert instance(schema) == {"value": 0, "children": []}


def test_tool_arguments_are_always_an_object() -> None:
    assert object_instance({"type": "string"}) == {}
    assert object_instance({}) == {}
    assert object_instance(PERSON) == {"name": "xx", "age": 18}


DOUBLING = {
    "$ref": "#/$defs/n0",
    "$defs": {
        f"n{level}": {
            "type": "object",
            "required": ["a", "b"],
            "properties": {name: {"$ref": f"#/$defs/n{level + 1}"} for name in "ab"},
        }
        for level in range(60)
    },
}
SELVES = {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#"}, id="itself"),
        pytest.param({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
                     id="endless"),
        pytest.param(DOUBLING, id="2**60 nodes"),
        pytest.param(SELVES, id="endless arrays"),
        pytest.param({"type": "string", "minLength": 2**62}, id="a long string"),
        pytest.param({"allOf": [{"$ref": "#"}] * 1000}, id="all of itself"),
        pytest.param(
            {"type": "array", "minItems": 900,
             "items": {"type": "object", "required": [str(n) for n in range(4000)]}},
            id="many wide objects",
        ),
    ],
)  # fmt: skip
def test_a_hostile_schema_is_cut_short(schema: Any) -> None:
    began = time.perf_counter()
    assert len(orjson.dumps(instance(schema))) < 100_000
    assert time.perf_counter() - began < 3  # a few milliseconds here


KEYWORDS = """
type properties required items minItems minLength minimum maximum exclusiveMinimum exclusiveMaximum
multipleOf enum anyOf allOf $ref format prefixItems $defs a
"""
WORDS = st.sampled_from(KEYWORDS.split())
VALUES = st.one_of(
    st.sampled_from(["object", "array", "string", "integer", "number", "#", "#/$defs/a", "#/x"]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.booleans(),
)
SCHEMAS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5)
)


@given(SCHEMAS)
def test_nonsense_is_answered_with_json(schema: Any) -> None:
    orjson.dumps(instance(schema))
    assert isinstance(object_instance(schema), dict)
