"""Official SDKs, configured as any user would: a base URL and a key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.gateway_process import GatewayProcess


@pytest.fixture
def client(echo_gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=echo_gateway.base_url, api_key=echo_gateway.key) as client:
        yield client


@pytest.fixture
async def async_client(echo_gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=echo_gateway.base_url, api_key=echo_gateway.key) as client:
        yield client
