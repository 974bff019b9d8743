"""When does a silent stream get a comment, and what may follow it?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.config import Calls
from gateway.errors import DeadlineExceeded, RateLimited, ServerError
from gateway.exchange import Call, Reply
from gateway.trace import AttemptStarted
from tests.builders import target, text_event
from tests.gateway.edge.served import Edge, Feed, Lines

STREAM: dict[str, Any] = {"stream": True}
SOON: dict[str, Any] = {"first_heartbeat_s": 0.05, "heartbeat_s": 0.05}


async def test_before_the_first_heartbeat_a_failure_keeps_its_status() -> None:
    feed = Feed()
    feed.put(RateLimited("x"))
    async with Edge(feed, first_heartbeat_s=30.0) as edge, edge.post(STREAM) as answer:
        assert answer.status == 429
        assert b"heartbeat" not in await answer.read()


async def test_a_stream_that_is_quick_gets_no_comment() -> None:
    feed = Feed()
    feed.put([text_event("a")])
    feed.end()
    async with Edge(feed, **SOON) as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        assert len(await lines.rest()) == 2
        assert lines.comments == 0


async def test_a_silent_stream_gets_its_head_and_comments_then_its_content() -> None:
    feed = Feed()
    async with Edge(feed, **SOON) as edge, edge.post(STREAM) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert "x-sluice-provider" not in answer.headers
        lines = Lines(answer)
        await lines.comment()
        await lines.comment()
        feed.put([text_event("a")])
        feed.end()
        events = await lines.rest()
    assert events[0]["choices"][0]["delta"]["content"] == "a"
    assert events[1:] == ["[DONE]"]
    assert feed.closings == 1


@pytest.mark.parametrize("error", [ServerError("x"), TypeError("bug")])
async def test_after_a_heartbeat_an_error_is_an_event_and_the_end(error: Exception) -> None:
    feed = Feed()
    async with Edge(feed, **SOON) as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        await lines.comment()
        feed.put(error)
        (event,) = await lines.rest()
    assert event["error"]["code"] in ("upstream_server_error", "internal_error")


async def test_a_heartbeat_fills_a_pause_between_events() -> None:
    feed = Feed()
    feed.put([text_event("a")])
    often = Edge(feed, first_heartbeat_s=0.02, heartbeat_s=0.02)
    async with often as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        assert "choices" in await lines.next()
        await lines.comment()
        feed.put([text_event("b")])
        assert "choices" in await lines.next()
        await lines.comment()
        feed.end()
        assert await lines.rest() == ["[DONE]"]


async def test_the_first_heartbeat_may_come_later_than_the_others() -> None:
    """`first_heartbeat_s` guards the status; once the head is out, `heartbeat_s` holds."""
    feed = Feed()
    feed.put([text_event("a")])
    rarely_first = Edge(feed, first_heartbeat_s=0.3, heartbeat_s=0.02)
    async with rarely_first as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        assert "choices" in await lines.next()
        began = asyncio.get_running_loop().time()
        for _ in range(20):
            await lines.comment()
        feed.end()
        await lines.rest()
    assert asyncio.get_running_loop().time() - began < 20 * 0.3


async def test_no_heartbeat_follows_the_end() -> None:
    feed = Feed()
    async with Edge(feed, first_heartbeat_s=0.01, heartbeat_s=0.001) as edge:
        for _ in range(20):
            async with edge.post(STREAM) as answer:
                lines = Lines(answer)
                await lines.comment()
                feed.put([text_event("a")])
                feed.end()
                assert (await lines.rest())[-1] == "[DONE]"
        async with edge.post(STREAM) as answer:
            lines = Lines(answer)
            await lines.comment()
            feed.put(ServerError("x"))
            assert len(await lines.rest()) == 1


@pytest.mark.parametrize("settings", [{}, SOON], ids=["before", "after a heartbeat"])
async def test_the_deadline_ends_a_stream_that_never_begins(settings: dict[str, Any]) -> None:
    feed = Feed()
    async with (
        Edge(feed, calls=Calls(deadline_s=0.2), **settings) as edge,
        edge.post(STREAM) as answer,
    ):
        if settings:
            (event,) = await Lines(answer).rest()
        else:
            assert answer.status == 504
            event = await answer.json()
    assert event["error"]["code"] == "deadline_exceeded"
    assert feed.cancelled is not None
    assert feed.cancelled.args == (DeadlineExceeded.kind,)


@pytest.mark.parametrize(("made", "should_retry"), [(1, None), (2, "false")])
async def test_what_was_repeated_until_the_deadline_a_client_need_not_repeat(
    made: int, should_retry: str | None
) -> None:
    async def path(call: Call) -> Reply:
        for number in range(made):
            call.trace.add(AttemptStarted(number + 1, target(), 0.0))
        await asyncio.Event().wait()
        raise AssertionError

    async with Edge(path, calls=Calls(deadline_s=0.1)) as edge, edge.post(STREAM) as answer:
        assert answer.status == 504
        assert answer.headers.get("x-should-retry") == should_retry


@pytest.mark.parametrize("settings", [{}, SOON], ids=["without", "with heartbeats"])
async def test_the_deadline_ends_a_stream_in_its_middle(settings: dict[str, Any]) -> None:
    feed = Feed()
    feed.put([text_event("a")])
    async with (
        Edge(feed, calls=Calls(deadline_s=0.2), **settings) as edge,
        edge.post(STREAM) as answer,
    ):
        events = await Lines(answer).rest()
    assert len(events) == 2
    assert events[1]["error"]["code"] == "deadline_exceeded"
    assert feed.closings == 1
