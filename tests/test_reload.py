"""A changed config.toml is followed without a restart, by one process and by several."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import StartGateway
from tests.gateway_process import ECHO, GatewayProcess, table

SERVER = table("server", drain_s=5.0)
WITHIN_S = 20.0


def alias(name: str, model: str = "echo") -> str:
    return table(f"models.{name}", targets=[f"echo/{model}"])


async def status_of(gateway: GatewayProcess, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {gateway.key}", "connection": "close"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


async def until_all(gateway: GatewayProcess, model: str, status: int) -> None:
    """Until ten calls in a row, whichever worker takes them, are answered with this status."""
    async with asyncio.timeout(WITHIN_S):
        while {await status_of(gateway, model) for _ in range(10)} != {status}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_logged(gateway: GatewayProcess, text: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while text not in gateway.log():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def write(gateway: GatewayProcess, text: str) -> None:
    (gateway.home / "config.toml").write_text(text)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_changed_file_is_followed(start_gateway: StartGateway, workers: int) -> None:
    gateway = await start_gateway(SERVER + ECHO, arguments=("--workers", str(workers)))
    await until_all(gateway, "swift", 404)
    write(gateway, SERVER + ECHO + alias("swift"))
    await until_all(gateway, "swift", 200)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_faulty_file_is_refused_and_the_last_good_one_kept(
    start_gateway: StartGateway, workers: int
) -> None:
    gateway = await start_gateway(
        SERVER + ECHO + alias("swift"), arguments=("--workers", str(workers))
    )
    write(gateway, SERVER + ECHO + table("models.swift", targets=[], strategy="best"))
    gateway.send_signal(signal.SIGHUP)
    await until_logged(gateway, "cannot be used")
    await until_all(gateway, "swift", 200)
    write(gateway, SERVER + ECHO)
    gateway.send_signal(signal.SIGHUP)
    await until_all(gateway, "swift", 404)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_signal_during_the_start_does_not_end_it(tmp_path: Path, workers: int) -> None:
    gateway = GatewayProcess(tmp_path, SERVER + ECHO, arguments=("--workers", str(workers)))
    starting = asyncio.create_task(asyncio.to_thread(gateway.start))
    async with asyncio.timeout(WITHIN_S):
        while not (tmp_path / "data" / "sluice.db").exists():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.001)
    gateway.send_signal(signal.SIGHUP)
    await starting
    try:
        await until_logged(gateway, "configuration read")
    finally:
        assert gateway.stop() == 0


async def test_limits_that_workers_cannot_share_are_refused(start_gateway: StartGateway) -> None:
    """As at a start: without Redis each of two workers would count for itself."""
    several = table("server", drain_s=5.0, workers=2) + ECHO
    gateway = await start_gateway(several)
    write(gateway, several + alias("swift") + table("limits", key_rpm=1))
    gateway.send_signal(signal.SIGHUP)
    await until_logged(gateway, "each process would count for itself")
    await until_all(gateway, "swift", 404)


async def test_a_stream_under_way_ends_on_what_it_began_with(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(SERVER + ECHO + alias("slow", "echo-slow"))
    words = " ".join(str(number) for number in range(40))
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": words}]}
    headers = {"authorization": f"Bearer {gateway.key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers) as answer,
    ):
        first = await answer.content.readline()
        write(gateway, SERVER + ECHO)
        gateway.send_signal(signal.SIGHUP)
        await until_all(gateway, "slow", 404)
        rest = await answer.content.read()
    assert (first + rest).rstrip().endswith(b"data: [DONE]")
    assert b"error" not in first + rest


async def test_what_needs_a_restart_is_said(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(SERVER + ECHO)
    write(gateway, table("server", drain_s=6.0) + ECHO + alias("swift"))
    await until_all(gateway, "swift", 200)
    await until_logged(gateway, "changes of [server] wait for a restart")
