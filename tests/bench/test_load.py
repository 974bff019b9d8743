"""Does the load generator count what the upstream sends, and report what goes wrong?"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from bench.fake_upstream import Upstream
from bench.load import Load, Spec


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ran(port: int, model: str, **fields: object) -> Load:
    body = {"model": model, "stream": fields.get("stream", False)}
    given = {"connections": 2, "seconds": 5.0, "max_requests": 6, **fields}
    load = Load(Spec(port=port, body=json.dumps(body), **given))  # type: ignore[arg-type]
    await load.run()
    return load


async def test_a_closed_loop_sends_its_requests_and_ends(port: int) -> None:
    load = await ran(port, "fake")
    assert (load.requests, load.errors) == (6, {})
    assert len(load.latencies) == 6


async def test_an_open_loop_sends_what_is_due(port: int) -> None:
    load = await ran(port, "fake", rate=100.0, seconds=0.05)
    assert (load.requests, load.errors) == (5, {})


@pytest.mark.parametrize("model", ["fake-chunks8", "fake-chunks8-gap1"])
async def test_chunks_are_counted_without_the_end_mark(port: int, model: str) -> None:
    load = await ran(port, model, stream=True, min_chunks=8)
    assert load.errors == {}
    assert load.chunks == 6 * 9  # the finish reason comes in a chunk of its own


@pytest.mark.parametrize(
    ("model", "stream", "error"),
    [
        ("fake-status429", False, "status_429"),
        ("fake-status500", True, "status_500"),
        ("fake-chunks8-cut4", True, "closed"),
        ("fake-chunks3", True, "short_stream"),
    ],
)
async def test_what_is_not_a_whole_answer_is_an_error(
    port: int, model: str, stream: bool, error: str
) -> None:
    load = await ran(port, model, stream=stream, min_chunks=8, max_requests=2)
    assert load.requests == 0
    assert load.errors == {error: 2}


async def test_an_answer_that_does_not_come_is_given_up(port: int) -> None:
    load = await ran(port, "fake-delay60000", seconds=0.05, grace_s=0.05)
    assert load.errors == {"unanswered": 2}
