"""Inventories: asked lazily, once for all, kept for a minute, and patient with a silent server."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import ConnectionFailed
from gateway.inventory import FAILED_S, FRESH_S, Inventory
from gateway.targets import Credential, Provider, ProviderEntry

ENTRY = ProviderEntry(
    provider=Provider(name="local", kind="hosted_vllm", lane="native"),
    default=Credential("default", "key"),
)


class Server:
    """What a server says, how often it was asked, and a clock."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0
        self.time = 1000.0

    async def __call__(self, provider: Provider, credential: Credential) -> list[str]:
        assert (provider, credential) == (ENTRY.provider, ENTRY.default)
        self.asked += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return self.names

    def inventory(self, timeout_s: float = 5.0) -> Inventory:
        return Inventory(ENTRY, self, lambda: self.time, timeout_s)


async def test_a_list_is_kept_for_a_minute() -> None:
    server = Server(["b", "a", "b"])
    inventory = server.inventory()
    assert server.asked == 0
    assert list(await inventory.names()) == ["b", "a"]
    server.names = ["c"]
    server.time += FRESH_S - 1
    assert list(await inventory.names()) == ["b", "a"]
    server.time += 1
    assert list(await inventory.names()) == ["c"]
    assert server.asked == 2


@pytest.mark.parametrize("error", [ConnectionFailed("no"), OSError("no"), TimeoutError()])
async def test_a_failure_is_kept_for_seconds_and_the_last_answer_stands(error: Exception) -> None:
    server = Server(["a"])
    inventory = server.inventory()
    await inventory.names()
    server.time += FRESH_S
    server.error = error
    assert list(await inventory.names()) == ["a"]
    assert list(await inventory.names()) == ["a"]
    assert server.asked == 2
    server.error, server.names = None, ["b"]
    server.time += FAILED_S
    assert list(await inventory.names()) == ["b"]


async def test_a_server_that_never_answered_has_no_models() -> None:
    server = Server([])
    server.error = OSError("refused")
    assert not await server.inventory().names()


async def test_a_hanging_server_is_given_up() -> None:
    server = Server(["a"])
    server.gate.clear()
    assert not await server.inventory(timeout_s=0.01).names()


async def test_callers_that_wait_together_ask_once() -> None:
    server = Server(["a"])
    server.gate.clear()
    inventory = server.inventory()
    waiting = [asyncio.create_task(inventory.names()) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    server.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [list(answer) for answer in answers[1:] if isinstance(answer, dict)] == [["a"]] * 4
    assert server.asked == 1


async def test_an_unexpected_error_is_not_hidden() -> None:
    server = Server(["a"])
    server.error = KeyError("a mistake of ours")
    inventory = server.inventory()
    with pytest.raises(KeyError):
        await inventory.names()
    server.error = None
    assert list(await inventory.names()) == ["a"]
