"""Are all errors documented, with what a client and its SDK see, and no others?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import httpx
import openai
import pytest

from gateway.config import DEFAULT_RULES
from gateway.errors import Refusal, SluiceError, UpstreamFailure, error_classes
from gateway.upstream.failures import failure_from_response
from tests.builders import target
from tests.docs.documents import ROOT, Document, codes

ERRORS = Document.read("docs/errors.md")

ABSTRACT = {SluiceError, Refusal, UpstreamFailure}
CLASSES = {c.__name__: c for c in error_classes() if c not in ABSTRACT}
ERROR_ROWS = {
    codes(row[0])[0]: row[1:]
    for title in ("Refusals", "Failures of providers")
    for row in ERRORS.section(title).rows()
}


def test_every_error_is_documented_and_no_other() -> None:
    assert set(ERROR_ROWS) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_an_errors_row_is_true(name: str) -> None:
    error = CLASSES[name]("…")
    kind, status, code, type_, sdk, when = ERROR_ROWS[name]
    assert codes(kind) == [error.kind]
    assert status == str(error.status)
    assert codes(code) == ([error.code] if error.code else [])
    assert codes(type_) == [error.type]
    assert codes(sdk) == ([sdk_class(error)] if error.status != 499 else [])
    assert when


def sdk_class(error: SluiceError) -> str:
    """What OpenAI's SDK makes of the answer."""
    request = httpx.Request("POST", "http://gateway/v1/chat/completions")
    response = httpx.Response(error.status, request=request, json=error.body())
    client = openai.OpenAI(api_key="sk-sluice-test")
    return type(client._make_status_error_from_response(response)).__name__


def test_the_table_of_retries_is_the_defaults() -> None:
    table = {
        codes(kind)[0]: (int(same), move) for kind, same, move in ERRORS.section("Retries").rows()
    }
    rules = {k: (r.same_target, "yes" if r.next_target else "no") for k, r in DEFAULT_RULES.items()}
    assert table == rules


def test_the_errors_that_are_never_to_be_repeated_are_named() -> None:
    rows = ERRORS.section("What a client is told about retrying").rows()
    (named,) = (codes(when) for header, when in rows if codes(header) == ["x-should-retry: false"])
    assert set(named) == {c.kind for c in CLASSES.values() if c.should_retry is False}


# For "other 4xx" and its like: statuses that no row names.
EXAMPLES = {"3xx": (301, 307), "4xx": (418, 451), "5xx": (500, 502, 530)}


def test_the_table_of_statuses_is_the_map() -> None:
    named: dict[int, str] = {}
    for statuses, name in ERRORS.section("From a provider's answer to a class").rows():
        found = [int(status) for status in re.findall(r"\b\d{3}\b", statuses)]
        found += [status for many in re.findall(r"\dxx", statuses) for status in EXAMPLES[many]]
        assert named.keys().isdisjoint(found)
        named |= dict.fromkeys(found, codes(name)[0])
    assert len(named) > 35
    at = target()
    assert named == {s: type(failure_from_response(s, {}, b"", at)).__name__ for s in named}


def test_every_code_of_an_invalid_request_is_documented() -> None:
    rows = ERRORS.section("Codes of invalid requests").rows()
    assert {code for row in rows for code in codes(row[0])} == set(codes_in_source())


def codes_in_source() -> Iterator[str]:
    """The codes that `gateway/wire` gives: `Fault(text, code)`, `code=…`, `text, code = …`."""
    for file in ROOT.glob("gateway/wire/*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            found: list[ast.expr] = []
            match node:
                case ast.Call(func=ast.Name(id="Fault"), args=[_, code, *_]):
                    found = [code]
                case ast.Call(keywords=keywords):
                    found = [word.value for word in keywords if word.arg == "code"]
                case ast.Assign(
                    targets=[ast.Tuple(elts=[_, ast.Name(id="code")])],
                    value=ast.Tuple(elts=[_, code]),
                ):
                    found = [code]
            yield from (e.value for e in found if isinstance(e, ast.Constant) and e.value)
