"""Is everything that is no call refused quickly, in OpenAI's shape, before the path hears of it?"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.builders import Answers, completion
from tests.gateway.edge.served import HELLO, Edge

GOOD = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
QUICKLY_S = 2.0


async def error_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The error of an answer that has the one shape that all errors have."""
    assert answer.content_type == "application/json"
    assert answer.headers["x-request-id"].startswith("call_")
    body = await answer.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert isinstance(error["message"], str)
    return error


def with_content(content: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":' + content + b"}]}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"hello", "invalid_json"),
        (b'{"model": "m"', "invalid_json"),
        (GOOD + b"x", "invalid_json"),
        (b"\xff\xfe" + GOOD, "invalid_json"),
        (b"\xef\xbb\xbf" + GOOD, "invalid_json"),
        (b'{"model":"m","messages":[],"temperature":NaN}', "invalid_json"),
        (b'{"model":"m","messages":[],"temperature":Infinity}', "invalid_json"),
        (b'{"model":"m","messages":[],"temperature":1e999}', "invalid_json"),
        (with_content(b'"\\ud800"'), "invalid_json"),
        (with_content(b'"\xed\xa0\x80"'), "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (with_content(b"[" * 500 + b"]" * 500), "nested_too_deeply"),
        (b'{"model":"m","model":"n","messages":[]}', "duplicate_key"),
        (with_content(b'"x","content":"y"'), "duplicate_key"),
        (b'{"model":"m","messages":[],"seed":123456789012345678901234567890}', "integer_too_large"),
        (b"[]", "invalid_type"),
        (b"null", "invalid_type"),
        (b"{}", "missing_required_parameter"),
        (b'{"model":"m"}', "missing_required_parameter"),
        (with_content(b"1"), "invalid_type"),
        (with_content(b'[{"type":"text","text":{"x":1}}]'), "invalid_type"),
        (b'{"model":["m"],"messages":[]}', "invalid_type"),
    ],
)
async def test_a_body_that_is_no_call_is_refused(body: bytes, code: str) -> None:
    answers = Answers(completion())
    async with Edge(answers) as edge, edge.post(body) as answer:
        assert answer.status == 400
        error = await error_of(answer)
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert answers.calls == []
    assert [refusal.status for refusal in edge.refusals] == [400]


@pytest.mark.parametrize(
    "headers",
    [
        {"x_sluice_deadline_s": "soon"},
        {"x_sluice_deadline_s": "-1"},
        {"x_sluice_deadline_s": "nan"},
        {"x_sluice_deadline_s": "inf"},
        {"x_sluice_tags": "x" * 65},
        {"x_sluice_tags": ",".join("abcdefghijklmnopq")},
    ],
)
async def test_a_control_that_makes_no_sense_is_refused(headers: dict[str, str]) -> None:
    answers = Answers(completion())
    async with Edge(answers) as edge, edge.post(**headers) as answer:
        assert answer.status == 400
        assert (await error_of(answer))["param"].startswith("x-sluice-")
    assert answers.calls == []


async def test_controls_come_from_both_places_and_do_not_stay_in_the_body() -> None:
    answers = Answers(completion())
    body = {**HELLO, "sluice": {"tags": ["body"], "deadline_s": 5}}
    async with (
        Edge(answers) as edge,
        edge.post(body, x_sluice_tags="header", authorization="Bearer sk-1", x_other="kept"),
    ):
        pass
    (asked,) = answers.calls
    assert asked.controls == {"tags": ["body"], "deadline_s": 5}
    assert asked.body == HELLO
    assert asked.deadline - time.monotonic() < 5
    assert asked.credential == "sk-1"
    assert asked.headers["x-other"] == "kept"
    assert "authorization" not in asked.headers


# --------------------------------------------------------------------------------- bodies


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 500):
        yield b"x" * 500


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_cap_is_refused_without_reading_it_all(chunked: bool) -> None:
    answers = Answers(completion())
    async with Edge(answers, max_body_bytes=1000) as edge:
        data: Any = pieces(5000) if chunked else b"x" * 5000
        async with aiohttp.request("POST", f"{edge.url}/v1/chat/completions", data=data) as answer:
            assert answer.status == 413
            assert (await error_of(answer))["code"] == "body_too_large"
            assert answer.headers["connection"] == "close"
    assert answers.calls == []


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_cap_itself_is_allowed(chunked: bool, over: int, status: int) -> None:
    async def both() -> AsyncIterator[bytes]:
        yield GOOD[:10]
        yield GOOD[10:]

    async with Edge(Answers(completion()), max_body_bytes=len(GOOD) - over) as edge:
        data: Any = both() if chunked else GOOD
        async with aiohttp.request("POST", f"{edge.url}/v1/chat/completions", data=data) as answer:
            assert answer.status == status


async def test_a_large_body_that_is_announced_is_refused_before_it_is_sent() -> None:
    async with Edge(Answers(completion()), max_body_bytes=1000) as edge:
        reader, writer = await asyncio.open_connection(edge.host, edge.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
            b"content-length: 1000000000000\r\n\r\n"
        )
        async with asyncio.timeout(QUICKLY_S):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    answers = Answers(completion())
    async with (
        Edge(answers) as edge,
        edge.post(gzip.compress(GOOD), content_encoding=encoding) as answer,
    ):
        assert answer.status == 415
        assert (await error_of(answer))["code"] == "unsupported_media_type"
    assert answers.calls == []


async def test_an_encoding_that_is_none_is_accepted() -> None:
    async with (
        Edge(Answers(completion())) as edge,
        edge.post(GOOD, content_encoding="identity") as answer,
    ):
        assert answer.status == 200


async def test_a_hostile_body_is_refused_quickly() -> None:
    hostile = [
        with_content(b'"' + b'\\":' * 200_000 + b'"'),
        with_content(b"[" + b'{"type":"text","text":1},' * 40_000 + b"1]"),
        b'{"model":"m","messages":[],"seed":' + b"9" * 1_000_000 + b"}",
        b'{"a":' * 200_000,
    ]
    async with Edge(Answers(completion())) as edge:
        for body in hostile:
            began = time.monotonic()
            async with edge.post(body) as answer:
                assert answer.status in (200, 400)
            assert time.monotonic() - began < QUICKLY_S


# ------------------------------------------------------------------------ paths and methods


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat/completions/", "/v1/completions", "/v1/embeddings", "/%00"]
)
async def test_there_is_nothing_at_an_unknown_path(path: str, method: str) -> None:
    async with Edge(Answers(completion())) as edge:
        answer, _ = await edge.get(path, method)
        assert answer.status == 404
        assert (await error_of(answer))["code"] == "path_not_found"


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/chat/completions", "GET", "POST"),
        ("/v1/chat/completions", "PUT", "POST"),
        ("/v1/chat/completions", "OPTIONS", "POST"),
        ("/v1/models", "POST", "GET, HEAD"),
        ("/v1/models/some/model", "DELETE", "GET, HEAD"),
        ("/health/ready", "POST", "GET, HEAD"),
        ("/metrics", "OPTIONS", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_know_is_refused_with_those_it_does(
    path: str, method: str, allowed: str
) -> None:
    async with Edge(Answers(completion())) as edge:
        answer, _ = await edge.get(path, method)
        assert answer.status == 405
        assert answer.headers["allow"] == allowed
        error = await error_of(answer)
    assert error["code"] == "method_not_allowed"
    assert allowed in error["message"]


@pytest.mark.parametrize(
    ("path", "status"), [("/health/live", 200), ("/v1/chat/completions", 405), ("/nowhere", 404)]
)
async def test_head_has_no_body(path: str, status: int) -> None:
    async with Edge(Answers(completion())) as edge:
        answer, body = await edge.get(path, "HEAD")
    assert (answer.status, body) == (status, b"")
    assert answer.headers["x-request-id"].startswith("call_")


async def test_every_answer_has_an_id_of_its_own() -> None:
    async with Edge(Answers(completion())) as edge:
        ids = set()
        for path in ("/health/live", "/health/ready", "/metrics", "/nowhere", "/v1/models"):
            answer, _ = await edge.get(path)
            ids.add(answer.headers["x-request-id"])
        async with edge.post() as answer:
            ids.add(answer.headers["x-request-id"])
            assert answer.headers["x-sluice-call-id"] == answer.headers["x-request-id"]
    assert len(ids) == 6
