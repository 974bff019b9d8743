"""Places of limits, as fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.gateway.limits.places import Place
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    url = request.getfixturevalue("server").url if request.param == "redis" else ""
    async with AsyncExitStack() as stack:
        yield Place(request.param, url, request.node.name, stack)


@pytest.fixture
async def redis_place(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place("redis", server.url, request.node.name, stack)
