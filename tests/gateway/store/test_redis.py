"""Does a Redis that fails cost its users one short wait, and then none?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio.connection import Connection

from gateway.store.redis import Redis, Script
from tests.redis_server import RedisServer, redis_server

ECHO = Script("return {KEYS[1], ARGV[1]}")
WRONG = Script("return redis.call('NO SUCH COMMAND')")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


class Pauses:
    """Stands in for sleeping: a pause ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()
        self._another = asyncio.Condition()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        async with self._another:
            self._another.notify_all()
        await self.over.wait()
        self.over.clear()

    async def times(self, number: int) -> None:
        """Until there were so many pauses."""
        async with self._another:
            await self._another.wait_for(lambda: len(self.asked) >= number)


@asynccontextmanager
async def client(url: str, timeout_s: float = 0.1) -> AsyncIterator[tuple[Redis, Pauses]]:
    pauses = Pauses()
    redis = Redis(url, timeout_s=timeout_s, sleep=pauses)
    try:
        yield redis, pauses
    finally:
        await redis.aclose()


async def test_each_caller_of_a_script_gets_its_own_result(server: RedisServer) -> None:
    async with client(server.url, 5.0) as (redis, _):
        asked = [(f"k{n}", f"v{n}") for n in range(1000)]
        results = await asyncio.gather(*(redis.script(ECHO, [k], [v]) for k, v in asked))
        assert results == [[k.encode(), v.encode()] for k, v in asked]
        await redis.run(lambda inner: inner.script_flush())
        assert await redis.script(ECHO, ["k"], ["v"]) == [b"k", b"v"]


async def test_cancelled_callers_never_give_others_a_foreign_result(server: RedisServer) -> None:
    async with client(server.url, 5.0) as (redis, _):

        async def ask(n: int) -> None:
            if n % 2:
                async with asyncio.timeout(0.001 * (n % 5)):
                    await redis.script(ECHO, [f"k{n}"], ["v"])
            else:
                assert await redis.script(ECHO, [f"k{n}"], [n]) == [b"k%d" % n, b"%d" % n]
                assert await redis.run(lambda inner: inner.echo(str(n))) == b"%d" % n

        seen = await asyncio.gather(*(ask(n) for n in range(400)), return_exceptions=True)
        assert {type(one) for one in seen} <= {type(None), TimeoutError}
        assert redis.available


async def test_a_redis_that_hangs_is_waited_for_once_and_used_again_when_it_answers(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(server.url) as (redis, pauses):
        await redis.start()
        with caplog.at_level(logging.WARNING, "sluice"), server.stopped():
            began = time.monotonic()
            assert (
                await asyncio.gather(
                    *(redis.script(ECHO, ["k"], ["v"]) for _ in range(50)),
                    redis.run(lambda inner: inner.get("k")),
                )
                == [None] * 51
            )
            assert 0.09 < time.monotonic() - began < 1.0
            assert not redis.available
            began = time.monotonic()
            for _ in range(1000):
                assert await redis.script(ECHO, ["k"], ["v"]) is None
                assert await redis.run(lambda inner: inner.get("k")) is None
            assert time.monotonic() - began < 0.1
            pauses.over.set()  # a probe in vain
            async with asyncio.timeout(5):
                await pauses.times(2)
        pauses.over.set()
        async with asyncio.timeout(5):
            while not redis.available:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        assert pauses.asked == [0.5, 1.0]
        assert await redis.script(ECHO, ["k"], ["v"]) == [b"k", b"v"]
        assert len(caplog.messages) == 2


async def test_without_a_redis_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    async with client("redis://:secret-word@127.0.0.1:1/0") as (redis, _):
        await redis.start()
        assert not redis.available
        assert await redis.script(ECHO, ["k"], ["v"]) is None
    assert "secret-word" not in caplog.text
    assert "secret-word" not in repr(redis)


async def test_a_fault_of_a_script_is_a_redis_that_cannot_be_used(server: RedisServer) -> None:
    async with client(server.url, 5.0) as (redis, _):
        assert await redis.script(WRONG, [], []) is None
        assert not redis.available


async def test_an_unforeseen_fault_leaves_nobody_waiting_and_ends_nothing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop, for one, raises a RuntimeError for a write to a transport that was just closed."""
    async with client(server.url, 5.0) as (redis, pauses):

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("the handler is closed")

        with monkeypatch.context() as patch:
            patch.setattr(Connection, "send_packed_command", broken)
            async with asyncio.timeout(4):
                assert await redis.script(ECHO, ["k"], ["v"]) is None
                assert await redis.run(lambda inner: inner.get("k")) is None
                pauses.over.set()  # a probe in vain
                await pauses.times(2)
        pauses.over.set()
        async with asyncio.timeout(4):
            while not redis.available:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            assert await redis.script(ECHO, ["k"], ["v"]) == [b"k", b"v"]


async def test_whoever_stops_waiting_for_a_result_stops_nobody_else(server: RedisServer) -> None:
    async with client(server.url, 5.0) as (redis, _):
        for _ in range(3):
            redis.post(ECHO, ["a"], ["1"]).cancel()
            async with asyncio.timeout(4):
                assert await redis.script(ECHO, ["b"], ["2"]) == [b"b", b"2"]


async def test_after_a_fault_it_connects_anew(server: RedisServer) -> None:
    """A failover moves the address; an old connection leads to a server that only reads."""
    async with client(server.url, 5.0) as (redis, pauses):
        before = await redis.run(lambda inner: inner.client_id())
        assert before == await redis.run(lambda inner: inner.client_id())
        assert await redis.script(WRONG, [], []) is None
        pauses.over.set()
        async with asyncio.timeout(5):
            while not redis.available:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        after = await redis.run(lambda inner: inner.client_id())
        assert after is not None
        assert after != before
