"""`POST /v1/explain`: what is an explanation, and what an error?"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import BudgetExceeded, InvalidKey, RateLimitExceeded, SluiceError, Unavailable
from gateway.exchange import Call, Handler, Reply
from gateway.trace import Identified
from tests.builders import KEY, Closings, completion, stream, text_event
from tests.gateway.edge.served import Edge

EXPLAIN = "/v1/explain"


def path(answer: Reply | Exception, *, key: bool = True, seen: list[Call] | None = None) -> Handler:
    """A path that knows the key, and then answers so."""

    async def handle(call: Call) -> Reply:
        if seen is not None:
            seen.append(call)
        if key:
            call.trace.add(Identified(KEY))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle


async def explained(edge: Edge, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    async with edge.post(body, path=EXPLAIN, **headers) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_the_path_is_walked_dry_with_what_a_call_would_have() -> None:
    seen: list[Call] = []
    async with Edge(path(completion(), seen=seen)) as edge:
        status, found, headers = await explained(
            edge, {"user": "u", "sluice": {"tags": ["t"]}}, authorization="Bearer sk-1", x_own="1"
        )
    (call,) = seen
    assert (status, found["object"], found["id"]) == (200, "explanation", call.id)
    assert headers["x-request-id"] == call.id
    assert (call.dry_run, call.credential, call.body["user"]) == (True, "sk-1", "u")
    assert (call.controls, call.headers["x-own"]) == ({"tags": ["t"]}, "1")
    assert found["key"] == {"id": "k1", "name": "test", "team": "red"}


async def test_a_streamed_reply_is_closed_unread() -> None:
    closings = Closings()
    async with Edge(path(stream([text_event("x")], close=closings))) as edge:
        status, found, _ = await explained(edge, {"stream": True})
    assert (status, found["stream"], closings.count) == (200, True, 1)


@pytest.mark.parametrize(
    "refusal",
    [
        RateLimitExceeded("full", retry_after_s=1.5),
        BudgetExceeded("empty"),
        Unavailable("no ledger"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_a_refusal_is_the_explanation(refusal: SluiceError) -> None:
    async with Edge(path(refusal)) as edge:
        status, found, headers = await explained(edge)
        assert edge.refusals == []
    assert status == 200
    assert found["outcome"] == {
        "kind": "refused",
        "status": refusal.status,
        **refusal.body(),
        "retry_after_s": refusal.retry_after_s,
        "should_retry": refusal.should_retry,
    }
    assert "retry-after" not in headers


@pytest.mark.parametrize("error", [InvalidKey("who?"), Unavailable("no keys")])
async def test_who_is_not_known_gets_an_error(error: SluiceError) -> None:
    async with Edge(path(error, key=False)) as edge:
        status, found, _ = await explained(edge)
        assert edge.refusals == [error]
    assert (status, found) == (error.status, error.body())


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), ({"messages": "x"}, 400), (b" " * 2000, 413)],
)
async def test_what_is_no_request_gets_an_error(body: Any, status: int) -> None:
    async with Edge(path(completion()), max_body_bytes=1000) as edge:
        assert (await explained(edge, body))[0] == status
        assert len(edge.refusals) == 1


async def test_other_methods_are_told_so() -> None:
    async with Edge(path(completion())) as edge:
        answer, _ = await edge.get(EXPLAIN)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_process_that_is_about_to_exit_says_so() -> None:
    async with Edge(path(completion())) as edge:
        edge.visits.begin()
        status, found, headers = await explained(edge)
    assert (status, found["error"]["code"]) == (503, "draining")
    assert headers["connection"] == "close"
