"""Instances: what is the least value that a JSON schema accepts?

For the embedded model's tool arguments and structured answers. It obeys the keywords that OpenAI's
structured outputs allow (types, `enum`, `const`, `anyOf`, local `$ref`, `required`, bounds, common
formats); `pattern`, `not` and conditions are not obeyed. It never fails: schemas come from callers
unchecked, and may be nonsense, recursive, or of exponential size when written out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.exchange import JSON

_MAX_NODES = 1_000
_MAX_DEPTH = 32
_MAX_LENGTH = 1_000
_TWO_63 = 2.0**63
_FORMATS = {
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "date-time": "2000-01-01T00:00:00Z",
    "duration": "PT0S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Any) -> Any:
    """A small value that `schema` accepts."""
    return _Maker(schema).make(schema, 0)


def object_instance(schema: Any) -> JSON:
    """The same where an object is due: an empty one if the schema asks for something else."""
    made = instance(schema)
    return made if isinstance(made, dict) else {}


class _Maker:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_NODES

    def make(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._left < 0:
            return None
        if isinstance(reference := schema.get("$ref"), str):
            return self.make(self._resolve(reference), depth + 1)
        if "const" in schema:
            return schema["const"]
        if choices := _list(schema, "enum"):
            return choices[0]
        for name in ("anyOf", "oneOf"):
            if branches := _list(schema, name):
                return self.make(_merged([schema, branches[0]], name), depth + 1)
        if parts := _list(schema, "allOf"):
            parts = [self._followed(part) for part in parts]
            return self.make(_merged([schema, *parts], "allOf"), depth + 1)
        return self._typed(schema, _type(schema), depth)

    def _typed(self, schema: JSON, kind: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return _string(schema)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False
            case _:
                return None

    def _object(self, schema: JSON, depth: int) -> JSON:
        properties = _dict(schema, "properties")
        made: JSON = {}
        for name in _list(schema, "required"):
            if self._left < 0:
                break
            if isinstance(name, str):
                made[name] = self.make(properties.get(name), depth + 1)
        return made

    def _array(self, schema: JSON, depth: int) -> list[Any]:
        first = _list(schema, "prefixItems")
        count = min(int(_bound(schema, "minItems") or 0), _MAX_LENGTH)
        items = [*first[:count], *[schema.get("items")] * (count - len(first))]
        return [self.make(item, depth + 1) for item in items]

    def _resolve(self, reference: str) -> Any:
        """What a local reference (`#`, `#/$defs/Name`) points to; None where it does not."""
        node = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def _followed(self, schema: Any) -> Any:
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        return self._resolve(reference) if isinstance(reference, str) else schema


def _merged(schemas: Sequence[Any], spent: str) -> JSON:
    merged: JSON = {}
    for schema in schemas:
        if isinstance(schema, dict):
            properties = {**_dict(merged, "properties"), **_dict(schema, "properties")}
            required = [*_list(merged, "required"), *_list(schema, "required")]
            merged |= {key: value for key, value in schema.items() if key != spent}
            if properties or required:
                merged |= {"properties": properties, "required": required}
    return merged


def _type(schema: JSON) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if isinstance(kind, str):
        return kind
    # Left out, as people do.
    return "object" if "properties" in schema or "required" in schema else "null"


def _string(schema: JSON) -> str:
    made = _FORMATS.get(str(schema.get("format")), "")
    least = min(int(_bound(schema, "minLength") or 0), _MAX_LENGTH)
    return made + "x" * (least - len(made))


def _number(schema: JSON, *, whole: bool) -> int | float:
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    ceiling = below if high is None else high
    if not whole and above is not None and ceiling is not None:
        return above + (ceiling - above) / 2
    # The nearest to zero that is inside.
    value: int | float = 0
    if low is not None and low > value:
        value = low if not whole or abs(low) >= _TWO_63 else math.ceil(low)
    if high is not None and high < value:
        value = high if not whole or abs(high) >= _TWO_63 else math.floor(high)
    if above is not None and above >= value:
        value = math.floor(above) + 1 if abs(above) < _TWO_63 - 1 else above
    if below is not None and below <= value:
        value = math.ceil(below) - 1 if abs(below) < _TWO_63 - 1 else below
    step = _bound(schema, "multipleOf")
    if isinstance(step, int) and step > 0 and abs(value) < _TWO_63 / 2:
        value = math.ceil(value / step) * step
    return value


def _bound(schema: JSON, name: str) -> int | float | None:
    value = schema.get(name)
    return value if type(value) is int or type(value) is float else None


def _list(schema: Mapping[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _dict(schema: Mapping[str, Any], name: str) -> JSON:
    value = schema.get(name)
    return value if isinstance(value, dict) else {}
