"""JSON text: what is refused, and does the cheap check agree with an exact one?"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.wire.document import MAX_DEPTH, MAX_VALUES, parse_document


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_document(raw)
    return caught.value


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + closing * levels


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"a":}',
        b"{'a': 1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":1}x',
        b'{"a":1}\x00',
        b'{"a":1}{"a":1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\\ude00\\ud83d"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\n"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{\x00"\x00a\x00"\x00:\x001\x00}\x00',
        b"a=1&b=2",
        b"\x1f\x8b\x08\x00",
        nested(2000),
        b"[" * 100_000,
        b"9" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    error = refusal(raw)
    assert error.code == "invalid_json"
    assert error.status == 400


def test_a_syntax_error_names_its_position() -> None:
    assert "line 2 column 8" in refusal(b'{\n  "a": nope}').message


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":1,"b":2,"c":3,"b":4}', "b"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"a" :1,"a"\t\r\n :2}', "a"),
        (b'{"x":[0,{"y":{"a":1,"a":2}}]}', "x[1].y.a"),
        (b'[{"a":1,"a":2}]', "[0].a"),
        # Keys that end in a backslash, beside strings that hold escaped quotes and colons.
        (b'{"a\\\\":1,"a\\\\":2}', "a\\"),
        (b'{"a\\\\":1,"a\\\\":2,"b":"\\":"}', "a\\"),
        (b'{"a\\"":1,"a\\"":2}', 'a"'),
        (b'{"a\\\\\\"":1,"a\\\\\\"":2}', 'a\\"'),
        (b'{"a\\\\":1,"a\\\\":2,"b":": "}', "a\\"),
        (b'{"":1,"":2}', ""),
        (b'{"a":{"b":1,"b":2},"a":3}', "a"),
        (b'{"a":"{\\"a\\":1}","a":": x"}', "a"),
    ],
)
def test_a_key_that_occurs_twice_is_refused(raw: bytes, param: str) -> None:
    error = refusal(raw)
    assert error.code == "duplicate_key"
    assert error.param == (param or None)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{"a":{"a":[{"a":1},{"a":1}]}}}',
        b'{"arguments":"{\\"a\\": 1, \\"a\\": 2}"}',
        b'{"a":": b", "c":"\\\\\\": 1", "d\\\\":": "}',
        b'{"a":"\\"a\\" : 1"}',
        b'{"A":1,"a":2,"\xc3\xa4":3,"a\xcc\x88":4}',
    ],
)
def test_what_only_looks_like_a_second_key_is_accepted(raw: bytes) -> None:
    assert parse_document(raw) == json.loads(raw)


@pytest.mark.parametrize(
    ("literal", "accepted"),
    [
        ("9223372036854775807", True),
        ("-9223372036854775808", True),
        ("9223372036854775808", False),
        ("-9223372036854775809", False),
        ("18446744073709551615", False),
        ("18446744073709551616", False),
        ("100000000000000000000000000000", False),
        ("-" + "9" * 300, False),
        ("1e19", True),
        ("1E30", True),
        ("-1e300", True),
        ("1.7976931348623157e308", True),
        ("9223372036854775808.0", True),
        ("123456789012345678901234567890e-20", True),
        ("0.1234567890123456789012345678901234567890", True),
    ],
)
def test_integers_fit_into_64_bits(literal: str, accepted: bool) -> None:
    raw = b'{"tools":[{"maximum":%b}]}' % literal.encode()
    if accepted:
        assert parse_document(raw) == json.loads(raw)
    else:
        error = refusal(raw)
        assert error.code == "integer_too_large"
        assert error.param == "tools[0].maximum"


def test_a_number_inside_a_string_is_text() -> None:
    assert parse_document(b'{"a":"99999999999999999999999"}') == {"a": "9" * 23}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_limited(opening: bytes, closing: bytes) -> None:
    inner = b"1" if closing == b"}" else b""
    parse_document(opening * MAX_DEPTH + inner + closing * MAX_DEPTH)
    deep = opening * (MAX_DEPTH + 1) + inner + closing * (MAX_DEPTH + 1)
    assert refusal(deep).code == "nested_too_deeply"


def test_depth_is_refused_before_the_exact_check_could_recurse() -> None:
    raw = b'{"a":1,"a":' + nested(1000) + b"}"
    assert refusal(raw).code == "nested_too_deeply"


@pytest.mark.parametrize(
    "raw",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" + b'{"a":1},' * (MAX_VALUES // 2) + b"{}]",
        b"[" * 9 + b"1," * MAX_VALUES + b"1" + b"]" * 9,
    ],
)
def test_a_body_of_very_many_values_is_refused(raw: bytes) -> None:
    """Each walk over one takes time in which no other call goes on."""
    assert refusal(raw).code == "too_many_values"


def test_many_values_are_accepted() -> None:
    assert len(parse_document(b"[" + b"1," * (MAX_VALUES - 1) + b"1]")) == MAX_VALUES
    assert len(parse_document(b'["' + b"x, " * MAX_VALUES + b'"]')) == 1


# ------------------------------------------------------ against an exact reference


class NotAccepted(Exception):
    pass


def reference(raw: str) -> Any:
    """The same rules by the standard library alone: slow, exact."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(items)
        if len(members) != len(items):
            raise NotAccepted
        return members

    def integer(literal: str) -> int:
        if not -(2**63) <= int(literal) < 2**63:
            raise NotAccepted
        return int(literal)

    return json.loads(raw, object_pairs_hook=pairs, parse_int=integer)


# Few different characters, and the ones that the cheap check could be fooled by.
TRICKY = st.text(alphabet='a"\\: \n{}[],1', max_size=6)
KEYS = st.one_of(st.sampled_from(["a", "b", "a\\", 'a"', "a:", ""]), TRICKY)
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 1e19, 1e300]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def texts(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON texts in which keys repeat, with white space anywhere."""
    space = st.sampled_from(["", "", " ", "\n\t", "\r"])

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=draw(st.booleans()))

    kind = draw(st.sampled_from(["object", "array", "string", "number"] if depth else ["string"]))
    if kind == "string":
        return quoted(draw(TRICKY))
    if kind == "number":
        return json.dumps(draw(NUMBERS))
    if kind == "array":
        items = draw(st.lists(texts(depth=depth - 1), max_size=3))
        return f"[{','.join(items)}]"
    members = [
        f"{draw(space)}{quoted(key)}{draw(space)}:{draw(space)}{draw(texts(depth=depth - 1))}"
        for key in draw(st.lists(KEYS, max_size=4))
    ]
    return "{" + ",".join(members) + draw(space) + "}"


@given(texts())
def test_the_cheap_check_agrees_with_an_exact_one(text: str) -> None:
    try:
        expected = reference(text)
    except NotAccepted:
        with pytest.raises(InvalidRequest):
            parse_document(text.encode())
    else:
        assert parse_document(text.encode()) == expected


@given(st.recursive(st.none() | st.booleans() | TRICKY, lambda inner: st.lists(inner)))
def test_what_python_writes_is_read(value: Any) -> None:
    assert parse_document(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        parse_document(raw)
    except InvalidRequest as error:
        orjson.dumps(error.body())


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"a":[' + b"{}," * 300_000 + b"1]}", id="many objects"),
        pytest.param(b'{"a":"' + b'\\":' * 300_000 + b'"}', id="escaped quotes and colons"),
        pytest.param(b'{"a":[' + b'": ",' * 150_000 + b"1]}", id="strings that begin with a colon"),
        pytest.param(b'{"a"' + b" " * 1_000_000 + b":1}", id="white space"),
        pytest.param(b'["' + b'\\"          ' * 80_000 + b'"]', id="quotes before white space"),
        pytest.param(b'["' + b"\\\\" * 500_000 + b'"]', id="backslashes"),
        pytest.param(b'{"a":[' + b"1e19," * 150_000 + b"1]}", id="large floats"),
        pytest.param(b'{"a":[' + b"9" * 300 + b",1]}", id="a long integer"),
        pytest.param(b"[0." + b"9" * 1_000_000 + b"]", id="a long fraction"),
        pytest.param(b"{" + b'"a":1,' * 150_000 + b'"a":1}', id="one key, often"),
        pytest.param(
            b"{" + b",".join(b'"%d":1' % n for n in range(80_000)) + b"}", id="many different keys"
        ),
    ],
)
def test_a_megabyte_is_judged_quickly(raw: bytes) -> None:
    began = time.perf_counter()
    with contextlib.suppress(InvalidRequest):
        parse_document(raw)
    # 10 to 150 ms here; anything quadratic would take minutes.
    assert time.perf_counter() - began < 3


def test_a_deep_place_is_named_by_its_beginning() -> None:
    error = refusal(b'{"a":' * 20 + b'{"b":1,"b":2}' + b"}" * 20)
    assert error.param == "a" + ".a" * 11 + "…"
