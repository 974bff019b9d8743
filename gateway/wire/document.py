"""JSON text: does it mean one thing, and the same thing to everyone who reads it?

orjson reads the text and refuses what is no JSON: NaN, 1e400, lone surrogates, a byte order mark.
Two things it lets through, on which readers differ: a key that occurs twice in an object, and an
integer beyond 64 bits (signed), which it turns into a float. Both are refused here, and so are deep
nesting, on which other readers run out of stack, and very many values: walking over them takes
time in which no other call goes on. It must cost next to nothing:

- One walk over the parsed tree counts its keys and its depth, and notices numbers of 2^63 and more.
- A key ends in a quote, maybe white space, and a colon, and its quote is not an escaped one: the
  number of such places in the text is at least the number of keys that were written. If it equals
  the number of keys in the tree, none was written twice.
- If it does not (a string that holds such a place, or begins with a colon), or if a number is
  suspicious (1e19 is a fine float), the text is read once more with the standard library, whose
  hooks see every pair and every integer as written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from gateway.errors import InvalidRequest
from gateway.wire.fault import Fault

MAX_DEPTH = 64
MAX_VALUES = 250_000
_TWO_63 = 2**63

# The look-behind leaves out `\":`, which is what JSON inside a string looks like (the arguments
# of every tool call), but not `\\":`, which may end a key that ends in a backslash.
_KEY_END = re.compile(rb'"\s*:(?<!(?<!\\)\\":)')


def parse_document(raw: bytes) -> Any:
    """The value of a JSON text. Raises InvalidRequest."""
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    keys, suspicious = _survey(tree)
    if suspicious or len(_KEY_END.findall(raw)) != keys:
        _check_as_written(raw)
    return tree


def _survey(root: Any) -> tuple[int, bool]:
    """How many keys are there, and may a number have been written as too large an integer?"""
    keys = values = 0
    suspicious = False
    level: list[Any] = [[root]]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for node in level:
            values += len(node)
            if values > MAX_VALUES + 1:  # the root itself is one
                raise _too_many()
            if type(node) is dict:
                keys += len(node)
                node = node.values()
            for item in node:
                kind = type(item)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    below.append(item)
                elif (kind is int or kind is float) and not -_TWO_63 < item < _TWO_63:
                    suspicious = True
        if not below:
            return keys, suspicious
        level = below
    raise InvalidRequest(
        f"The body is nested too deeply: at most {MAX_DEPTH} levels are accepted.",
        code="nested_too_deeply",
    )


def _too_many() -> InvalidRequest:
    return InvalidRequest(
        f"The body has too many values: at most {MAX_VALUES} are accepted.", code="too_many_values"
    )


def _check_as_written(raw: bytes) -> None:
    # The depth is known to be small here, so neither reader nor search can exhaust the stack.
    try:
        _raise_first_fault(json.loads(raw, object_pairs_hook=_members, parse_int=_integer))
    except Fault as fault:
        raise fault.refusal() from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Fault:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    for key, _ in pairs:
        if key not in members:
            break
        del members[key]
    return Fault("Duplicate key: {param} occurs more than once.", "duplicate_key", key)


def _integer(literal: str) -> int | Fault:
    # The length first: int() takes quadratic time, and refuses more than 4,300 digits.
    if len(literal) <= 20 and -_TWO_63 <= (number := int(literal)) < _TWO_63:
        return number
    return Fault("Invalid {param}: the integer does not fit into 64 bits.", "integer_too_large")


def _raise_first_fault(node: Any) -> None:
    if isinstance(node, Fault):
        raise node
    for step, item in _items(node):
        try:
            _raise_first_fault(item)
        except Fault as fault:
            fault.inside(step)
            raise


def _items(node: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(node, dict):
        return node.items()
    return enumerate(node) if isinstance(node, list) else ()
