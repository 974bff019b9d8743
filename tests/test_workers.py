"""Several workers: one that is killed is replaced, and none outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.conftest import StartGateway
from tests.gateway_process import GatewayProcess


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
