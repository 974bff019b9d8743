"""One loaded lane for all tests here: importing litellm takes seconds."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from gateway.upstream.library import LibraryLane
from tests.fakes.wires import WIRES


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def lane() -> AsyncIterator[LibraryLane]:
    loaded = LibraryLane(WIRES)
    await loaded.load()
    yield loaded
    await loaded.aclose()


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Whoever asks for a name or an address outside this machine fails the test."""
    real_look_up, real_connect = socket.getaddrinfo, socket.socket.connect

    def look_up(host: object, *rest: object, **named: object) -> object:
        assert host in ("127.0.0.1", "localhost", None), f"looked up {host!r}"
        return real_look_up(host, *rest, **named)  # type: ignore[arg-type]

    def connect(self: socket.socket, address: object) -> None:
        local = not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1")
        assert local, f"connected to {address!r}"
        real_connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        patch.setattr(socket.socket, "connect", connect)
        yield
