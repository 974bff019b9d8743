"""Several workers: one that is killed is replaced, none outlives its parent, all are counted."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx

from tests.conftest import StartGateway
from tests.gateway_process import GatewayProcess
from tests.metrics_view import Samples, samples


def children(pid: int) -> set[int]:
    """The processes whose parent is `pid`."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.add(int(name))
    return found


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: object, limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # type: ignore[operator] # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def two_workers(start_gateway: StartGateway) -> tuple[GatewayProcess, set[int]]:
    gateway = await start_gateway(arguments=("--workers", "2"))
    await until(lambda: len(children(gateway.pid)) == 2)
    return gateway, children(gateway.pid)


async def test_a_killed_worker_is_replaced(start_gateway: StartGateway) -> None:
    gateway, workers = await two_workers(start_gateway)
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(children(gateway.pid) - {victim}) == 2)
    assert children(gateway.pid) & workers == workers - {victim}


async def test_workers_do_not_outlive_a_killed_parent(start_gateway: StartGateway) -> None:
    gateway, workers = await two_workers(start_gateway)  # one of them may still be starting
    os.kill(gateway.pid, signal.SIGKILL)  # it alone: `gateway.kill` would end the workers too
    await until(lambda: not any(alive(pid) for pid in workers))


async def test_a_scrape_of_any_worker_shows_all(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    gateway = await start_gateway(env={"TMPDIR": str(tmp_path)}, arguments=("--workers", "2"))
    await until(lambda: scraped(gateway)["sluice_workers", ()] == 2)
    served = await spread(gateway)
    assert all(scraped(gateway)[CALLS] == served for _ in range(6))
    assert len(files(tmp_path)) == 2
    victim = min(children(gateway.pid))
    os.kill(victim, signal.SIGKILL)
    await until(lambda: scraped(gateway)[CALLS] == served and victim not in files(tmp_path))
    await until(lambda: scraped(gateway)["sluice_workers", ()] == 2)
    served += await spread(gateway)
    assert scraped(gateway)[CALLS] == served
    gateway.stop()
    assert os.listdir(tmp_path) == []


CALLS = ("sluice_calls_total", ("echo/echo", "200"))


async def spread(gateway: GatewayProcess, calls: int = 12) -> int:
    """Calls on connections of their own, at once: no worker takes all of them."""
    body = {"model": "echo/echo", "messages": [{"role": "user", "content": "Hi"}]}
    key = {"authorization": f"Bearer {gateway.key}"}

    async def one() -> None:
        async with httpx.AsyncClient(base_url=gateway.base_url, headers=key) as client:
            answer = await client.post("/chat/completions", json=body)
            assert answer.status_code == 200

    await asyncio.gather(*(one() for _ in range(calls)))
    return calls


def scraped(gateway: GatewayProcess) -> Samples:
    return samples(httpx.get(f"{gateway.url}/metrics").text)


def files(home: Path) -> set[int]:
    """The workers that there are figures of."""
    return {int(path.stem.rpartition("_")[2]) for path in home.glob("*/counter_*.db")}
