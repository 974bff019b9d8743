"""What becomes of running and of new calls when the process is about to exit?"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Any

import pytest

from gateway.edge.visits import Visit, Visits
from gateway.errors import Draining
from gateway.exchange import Call, Reply
from tests.builders import text_event
from tests.gateway.edge.served import Edge, Feed, Lines, until

STREAM: dict[str, Any] = {"stream": True}


async def code_of(answer: Any) -> str:
    code: str = (await answer.json())["error"]["code"]
    return code


async def test_new_calls_are_refused_while_a_stream_goes_on_to_its_end() -> None:
    feed = Feed()
    feed.put([text_event("a")])
    async with Edge(feed) as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        await lines.next()
        drained = asyncio.create_task(edge.visits.finish(30.0))
        await asyncio.sleep(0)
        async with edge.post() as refused:
            assert refused.status == 503
            assert await code_of(refused) == "draining"
        health, _ = await edge.get("/health/ready")
        assert health.status == 503
        feed.put([text_event("b")])
        feed.end()
        assert (await lines.rest())[-1] == "[DONE]"
        await drained
    assert feed.closings == 1
    assert [refusal.kind for refusal in edge.refusals] == ["draining"]


async def test_a_stream_that_does_not_end_in_time_gets_an_error_event() -> None:
    feed = Feed()
    feed.put([text_event("a")])
    async with Edge(feed) as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        await lines.next()
        await edge.visits.finish(0.05)
        assert feed.closings == 1, "the drain is over before the stream is settled"
        (event,) = await lines.rest()
    assert event["error"]["code"] == "draining"


@pytest.mark.parametrize("body", [STREAM, {}], ids=["streamed", "unstreamed"])
async def test_a_call_that_has_no_answer_yet_gets_an_ordinary_error(body: dict[str, Any]) -> None:
    feed = Feed()
    async with Edge(feed) as edge, asyncio.TaskGroup() as group:
        group.create_task(_drain_once_entered(feed, edge.visits))
        async with edge.post(body) as answer:
            assert answer.status == 503
            assert await code_of(answer) == "draining"
    assert feed.cancelled is not None
    assert feed.cancelled.args == ("draining",)


async def _drain_once_entered(feed: Feed, visits: Visits) -> None:
    await feed.entered.wait()
    await visits.finish(0.0)


async def test_a_stream_with_only_heartbeats_gets_an_error_event() -> None:
    feed = Feed()
    often = Edge(feed, first_heartbeat_s=0.01, heartbeat_s=0.01)
    async with often as edge, edge.post(STREAM) as answer:
        lines = Lines(answer)
        await lines.comment()
        await edge.visits.finish(0.0)
        (event,) = await lines.rest()
    assert event["error"]["code"] == "draining"


async def test_a_call_whose_body_is_still_coming_is_ended_too() -> None:
    async with Edge(Feed()) as edge:
        reader, writer = await asyncio.open_connection(edge.host, edge.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"
        )
        await until(lambda: len(edge.visits))
        async with asyncio.timeout(10):
            await edge.visits.finish(0.0)
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        writer.close()


# ------------------------------------------------------------------------------- visits


async def test_a_drain_without_calls_is_over_at_once() -> None:
    visits = Visits()
    async with asyncio.timeout(10):
        await visits.finish(60.0)
    with pytest.raises(Draining), Visit(visits, lambda: None):
        raise AssertionError("entered")


async def test_the_first_reason_for_a_cancellation_counts() -> None:
    visits, entered, reasons = Visits(), asyncio.Event(), []

    async def serve() -> None:
        try:
            with Visit(visits, lambda: None) as visit:
                visits_here.append(visit)
                entered.set()
                await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            reasons.append(error.args)

    visits_here: list[Visit] = []
    task = asyncio.create_task(serve())
    await entered.wait()
    visits_here[0].cancel("client_gone")
    visits_here[0].cancel("draining")
    await task
    assert reasons == [("client_gone",)]
    assert task.cancelling() == 1
    assert len(visits) == 0


# ------------------------------------------------------------------------------- signals


async def signalled(edge: Edge) -> None:
    """As the process would be; then let the loop see it."""
    edge.server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0.02)


async def test_a_signal_lets_a_stream_end_and_then_the_server() -> None:
    feed = Feed()
    feed.put([text_event("a")])
    async with Edge(feed, drain_s=60.0, serve=True) as edge:
        async with edge.post(STREAM) as answer:
            lines = Lines(answer)
            await lines.next()
            await signalled(edge)
            assert not edge.server.should_exit
            feed.end()
            assert await lines.rest() == ["[DONE]"]
        await edge.served()
    assert feed.closings == 1


async def test_a_second_signal_does_not_wait_for_the_calls() -> None:
    feed = Feed()
    feed.put([text_event("a")])
    async with Edge(feed, drain_s=60.0, serve=True) as edge:
        async with edge.post(STREAM) as answer:
            lines = Lines(answer)
            await lines.next()
            await signalled(edge)
            assert feed.closings == 0
            await signalled(edge)
            (event,) = await lines.rest()
        await edge.served()
    assert event["error"]["code"] == "draining"
    assert feed.closings == 1


async def test_a_call_that_does_not_end_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.server._LAST_WORDS_S", 0.1)
    release = asyncio.Event()

    async def stubborn(call: Call) -> Reply:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        raise Draining("at last")

    async with Edge(stubborn, drain_s=0.0, serve=True) as edge:
        _, writer = await edge.raw()
        await until(lambda: len(edge.visits))
        await signalled(edge)
        await until(lambda: edge.server.should_exit)
        release.set()
        writer.close()
        await edge.served()
