"""Do headers and the body's `sluice` object ask for the same, under the same rules?"""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from gateway.edge.controls import controls
from gateway.errors import InvalidRequest
from gateway.wire.requests import parse_chat_request

HEADERS = {"tags": "x-sluice-tags", "cache_namespace": "x-sluice-cache-namespace"}


def from_body(name: str, value: str) -> object:
    given: object = [value] if name == "tags" else value
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "sluice": {name: given}}
    return parse_chat_request(orjson.dumps(body))[1]


def from_header(name: str, value: str) -> object:
    return controls({HEADERS[name]: value}, {})


@pytest.mark.parametrize("name", list(HEADERS))
@pytest.mark.parametrize("given", [from_body, from_header])
@pytest.mark.parametrize("value", ["\x9b2J", "a\x00b", "a\u200bb", "x" * 65])
def test_a_name_that_no_log_could_show_is_refused(
    name: str, given: Callable[[str, str], object], value: str
) -> None:
    with pytest.raises(InvalidRequest):
        given(name, value)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_good_name_is_taken_from_either(name: str) -> None:
    assert from_header(name, "blue moon") == from_body(name, "blue moon")
