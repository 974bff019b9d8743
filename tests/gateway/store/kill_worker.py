"""A process that makes attempts until it is killed, and logs what a provider would see.

`python -m tests.gateway.store.kill_worker DIRECTORY NAME` logs to `NAME.log`. A line is one write
to a file opened with O_APPEND: it survives the process.

    served CHARGE           the intent was committed and the provider was called
    settled CHARGE COST     the settlement was confirmed
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import zlib
from pathlib import Path

from gateway import config
from gateway.store.database import Store, prepare
from gateway.store.leases import unix_ms
from tests.gateway.store.entries import intent, record, settlement

DATABASE = config.Database(url="sqlite:sluice.db", lease_s=1.0)
KEYS = config.Keys(pepper="file:pepper")
CONCURRENCY = 24


def cost_nano_usd(charge_id: str) -> int:
    """What an attempt costs, for whoever checks: any number that differs."""
    return zlib.crc32(charge_id.encode())


async def work(directory: Path, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = os.open(directory / f"{name}.log", flags, 0o600)
    store = await Store.open(prepare(DATABASE, KEYS, directory), DATABASE, KEYS)
    await asyncio.gather(
        *(_calls(store, log, f"call_{name}_{client}") for client in range(CONCURRENCY))
    )


async def _calls(store: Store, log: int, name: str) -> None:
    for number in range(1_000_000):
        call_id = f"{name}_{number}"
        attempts = random.randint(1, 2)  # noqa: S311 - no secret
        for attempt in range(1, attempts + 1):
            await _attempt(store, log, f"{call_id}.{attempt}")
        store.accounts.record(record(call_id, received_at_ms=unix_ms(), attempts=attempts))


async def _attempt(store: Store, log: int, charge_id: str) -> None:
    await store.accounts.open(intent(charge_id, opened_at_ms=unix_ms()))
    os.write(log, f"served {charge_id}\n".encode())
    await asyncio.sleep(random.choice((0, 0, 0.001, 0.01)))  # noqa: S311 - no secret
    cost = cost_nano_usd(charge_id)
    await store.accounts.settle(settlement(charge_id, cost_nano_usd=cost))
    os.write(log, f"settled {charge_id} {cost}\n".encode())


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
