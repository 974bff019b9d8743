"""Do limits hold over real processes and a real Redis, however calls end?"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, Step, Upstream, json_answer, sse_answer
from tests.gateway_process import ECHO, FAKE_KEY, GatewayProcess, fake_provider, table
from tests.redis_server import RedisServer, redis_server

REDIS = table("redis", url="env:REDIS_URL")
AT_TARGETS = '[limits.targets."fake/*"]\nconcurrent = 4\n'
LEASE_S = 5.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def until(ask: Callable[[], Awaitable[float]], answer: float) -> None:
    """Ask another process until it answers so."""
    async with asyncio.timeout(20):
        while await ask() != answer:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Caller:
    """Calls one gateway, and counts the statuses."""

    def __init__(self, session: aiohttp.ClientSession, gateway: GatewayProcess) -> None:
        self._session = session
        self._gateway = gateway
        self.statuses: Counter[int] = Counter()

    async def call(self, model: str = "echo", **body: Any) -> aiohttp.ClientResponse:
        async with self._session.post(
            f"{self._gateway.base_url}/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": "hi"}], **body},
            headers={"authorization": f"Bearer {self._gateway.key}"},
        ) as answer:
            await answer.read()
        self.statuses[answer.status] += 1
        return answer

    async def status(self, **body: Any) -> int:
        return (await self.call("fake/fake-model", **body)).status

    async def gauge(self, name: str) -> float:
        async with self._session.get(f"{self._gateway.url}/metrics") as answer:
            found = re.search(rf"^{name} (\S+)$", await answer.text(), re.MULTILINE)
        assert found is not None
        return float(found[1])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as opened:
        yield opened


async def test_two_gateways_on_one_redis_admit_what_the_algorithm_allows(
    tmp_path: Path, server: RedisServer, session: aiohttp.ClientSession
) -> None:
    # Time enough for a busy machine: whoever gives Redis up counts for itself.
    redis = table("redis", url="env:REDIS_URL", timeout_s=5.0)
    config = ECHO + redis + table("limits", key_rpm=100)
    env = {"REDIS_URL": server.url}
    async with (
        GatewayProcess(tmp_path, config, env=env) as one,
        GatewayProcess(tmp_path, config, env=env) as other,
    ):
        callers = [Caller(session, one), Caller(session, other)]
        began = time.monotonic()
        answers = [await caller.call() for caller in callers]  # both are in it
        answers += await asyncio.gather(*(c.call() for _ in range(199) for c in callers))
        took_s = time.monotonic() - began
        admitted = sum(caller.statuses[200] for caller in callers)
        assert 100 <= admitted <= 100 + int(took_s / 0.6) + 1
        assert sum(caller.statuses[429] for caller in callers) == 400 - admitted
        # What a refused caller was told is the time that is left: one interval, not a minute.
        waits = [int(a.headers["retry-after-ms"]) for a in answers if a.status == 429]
        assert 0 < max(waits) <= 600
        refused = next(a for a in answers if a.status == 429)
        assert refused.headers["x-ratelimit-limit-requests"] == "100"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        while time.monotonic() - began < took_s + 3.0:  # and then the steady rate
            await asyncio.gather(*(caller.call() for caller in callers))
        seen, elapsed_s = sum(c.statuses[200] for c in callers), time.monotonic() - began
        assert 100 + int((elapsed_s - 1) / 0.6) - 1 <= seen <= 100 + int(elapsed_s / 0.6) + 1


class Endings:
    """A provider that ends calls in every way, by the `user` of the call."""

    def __call__(self, request: Request) -> Answer:
        body = request.json
        ending = body["user"]
        if ending == "fails":
            return json_answer(openai.error("x", "invalid_request_error"), 400)
        if ending == "hangs":
            return Answer((Step.HANG,))
        if not body.get("stream"):
            return json_answer(openai.completion())
        parts: list[bytes | Step | asyncio.Event] = [*openai.chunks("a", "b")]
        if ending == "is cut":
            return sse_answer([*parts, Step.CUT])
        if ending == "is left":
            return sse_answer([*parts, Step.HANG])
        return sse_answer([*parts, openai.chunk({}, "stop"), openai.DONE])


ENDINGS = [
    {"user": "answers"},
    {"user": "answers", "stream": True},
    {"user": "fails"},
    {"user": "hangs", "sluice": {"deadline_s": 0.2}},
    {"user": "hangs", "stream": True, "sluice": {"deadline_s": 0.2}},
    {"user": "is cut", "stream": True},
    {"user": "is left", "stream": True},
    {"user": "hangs"},
    {"user": "answers", "model": "no/such"},
]
LEFT_AFTER_S = {"is left": 0.1, "hangs": 0.5}


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_after_200_calls_of_all_endings_no_slot_is_held(
    shared: bool,
    request: pytest.FixtureRequest,
    start_gateway: StartGateway,
    session: aiohttp.ClientSession,
) -> None:
    async with Upstream(Endings()) as upstream:
        config = fake_provider(upstream) + table("limits", key_concurrent=4) + AT_TARGETS
        config += table("retry", max_attempts=1)
        env = {}
        if shared:
            config += REDIS
            env["REDIS_URL"] = request.getfixturevalue("server").url
        gateway = await start_gateway(config, env=env)
        caller = Caller(session, gateway)
        chance = random.Random(7)  # noqa: S311
        gate = asyncio.Semaphore(6)  # more than may run

        async def one(number: int) -> None:
            body = {"model": "fake/fake-model", **chance.choice(ENDINGS)}
            async with gate:
                try:
                    async with asyncio.timeout(LEFT_AFTER_S.get(body["user"], 20)):
                        await caller.call(**body)
                except (TimeoutError, aiohttp.ClientError):
                    caller.statuses[0] += 1

        await asyncio.gather(*(one(number) for number in range(200)))
        assert {0, 200, 400, 429} <= set(caller.statuses) <= {0, 200, 400, 404, 429, 504}
        await until(lambda: caller.gauge("sluice_concurrency_slots"), 0)
        full = await asyncio.gather(
            *(caller.call("fake/fake-model", user="answers") for _ in range(4))
        )
        assert [answer.status for answer in full] == [200] * 4


async def test_a_redis_that_hangs_delays_calls_once_and_they_go_on(
    server: RedisServer, start_gateway: StartGateway, session: aiohttp.ClientSession
) -> None:
    """Limits and cache at once: what one of its users has waited for none waits for again."""
    config = ECHO + REDIS + table("limits", key_rpm=1000, key_concurrent=50)
    gateway = await start_gateway(
        config + table("cache", store="redis"), env={"REDIS_URL": server.url}
    )
    caller = Caller(session, gateway)
    numbers = count()

    async def slowest(times: int) -> float:
        took = []
        for _ in range(times):
            began = time.monotonic()
            answer = await caller.call(user=f"u{next(numbers)}", sluice={"cache": True})
            took.append(time.monotonic() - began)
            assert (answer.status, answer.headers["x-sluice-cache"]) == (200, "miss")
        return max(took)

    await slowest(20)
    assert await caller.gauge("sluice_redis_available") == 1
    with server.stopped():
        assert 0.09 < await slowest(1) < 1.0
        assert await slowest(50) < 0.09
        assert await caller.gauge("sluice_redis_available") == 0
    await until(lambda: caller.gauge("sluice_redis_available"), 1)
    await slowest(5)


async def test_the_slots_of_a_killed_gateway_are_free_when_their_lease_is_over(
    tmp_path: Path, server: RedisServer, session: aiohttp.ClientSession
) -> None:
    async with Upstream(Endings()) as upstream:
        config = fake_provider(upstream) + REDIS + table("limits", key_concurrent=2)
        config += AT_TARGETS.replace("4", "2")
        env = {"REDIS_URL": server.url, "FAKE_API_KEY": FAKE_KEY}
        async with GatewayProcess(tmp_path, config, env=env) as alive, AsyncExitStack() as stack:
            victim = await asyncio.to_thread(GatewayProcess(tmp_path, config, env=env).start)
            stack.callback(victim.kill)
            calling = [
                asyncio.create_task(Caller(session, victim).call("fake/fake-model", user="hangs"))
                for _ in range(2)
            ]
            caller = Caller(session, alive)
            await until(lambda: asyncio.sleep(0, len(upstream.requests)), 2)
            assert await caller.status(user="answers") == 429
            await asyncio.sleep(LEASE_S + 0.5)  # they are renewed for as long as they run
            assert await caller.status(user="answers") == 429
            victim.process.send_signal(signal.SIGKILL)
            await asyncio.gather(*calling, return_exceptions=True)
            killed = time.monotonic()
            await until(lambda: caller.status(user="answers"), 200)
            assert time.monotonic() - killed < LEASE_S + 1


async def test_several_workers_with_limits_and_no_redis_do_not_start(tmp_path: Path) -> None:
    gateway = GatewayProcess(
        tmp_path, ECHO + table("limits", team_tpm=5), arguments=("--workers", "2")
    )
    with pytest.raises(RuntimeError, match=r"redis\.url"):
        await asyncio.to_thread(gateway.start)


async def test_several_workers_with_a_limited_key_and_no_redis_do_not_start(
    tmp_path: Path,
) -> None:
    async with GatewayProcess(tmp_path) as gateway:
        await asyncio.to_thread(gateway.command, "keys", "create", "x", "--set", "rpm=5")
    gateway = GatewayProcess(tmp_path, arguments=("--workers", "2"))
    with pytest.raises(RuntimeError, match=r"redis\.url"):
        await asyncio.to_thread(gateway.start)
