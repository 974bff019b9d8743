"""Fixtures of whole-path tests: a gateway of everyone, and gateways of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.gateway_process import ECHO, FAKE_KEY, GatewayProcess


class StartGateway(Protocol):
    async def __call__(
        self,
        config: str = ECHO,
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> GatewayProcess: ...


@pytest.fixture(scope="session")
def echo_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the embedded model only, shared by all tests of this process."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
async def start_gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StartGateway]:
    """`await start_gateway(config)`: each is ended after the test, and must not have failed."""
    async with AsyncExitStack() as stack:

        async def start(
            config: str = ECHO,
            *,
            env: Mapping[str, str] | None = None,
            arguments: Sequence[str] = (),
        ) -> GatewayProcess:
            home: Path = tmp_path_factory.mktemp("gateway")
            secrets = {"FAKE_API_KEY": FAKE_KEY, **(env or {})}
            gateway = GatewayProcess(home, config, env=secrets, arguments=arguments)
            return await stack.enter_async_context(gateway)

        yield start
