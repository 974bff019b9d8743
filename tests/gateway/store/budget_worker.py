"""A process that makes attempts under budgets, for tests that start several and kill some.

`python -m tests.gateway.store.budget_worker DIRECTORY NAME rounds COUNT PROCESSES`
    makes COUNT attempts at once under the budget of team `round0`, then of `round1`, and so on,
    each round together with the other processes. An attempt costs its bound.
`python -m tests.gateway.store.budget_worker DIRECTORY NAME mix`
    makes attempts under the budget of team `mix` that end in all ways, until it is killed. Half of
    them are streams, which top up.

`NAME.log` has a line `served TEAM` for each attempt that reaches the provider, and `topped up`
for each top-up.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from gateway.config import Budgeting
from gateway.errors import BudgetExceeded
from gateway.spending import Opened, Spending
from gateway.store.database import Store, prepare
from gateway.store.leases import unix_ms
from tests.builders import call, price, target
from tests.gateway.store.entries import intent, settlement, until
from tests.gateway.store.kill_worker import DATABASE, KEYS

ROUNDS = 20
BOUND = 1_000
CONCURRENCY = 24
STEP = 300
AT = target("openai/gpt", price=price(), model={"max_completion_tokens": 10})
# A nano-dollar a token: it holds `STEP`, and less than that for its prompt.
STREAMED = target(
    "openai/gpt",
    price=price(1e-9, 1e-9),
    model={"max_completion_tokens": 10 * STEP, "hidden_reasoning": False},
)


class Worker:
    """Attempts of one process, over its own store."""

    def __init__(self, directory: Path, name: str, store: Store) -> None:
        self._directory = directory
        self._name = name
        self._store = store
        settings = Budgeting(wait_s=0.2, reserve_output_tokens=STEP)
        self._spending = Spending(store.accounts, store.budgets, settings)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._log = os.open(directory / f"{name}.log", flags, 0o600)

    async def rounds(self, count: int, processes: int) -> None:
        for number in range(ROUNDS):
            (self._directory / f"{self._name}.at{number}").touch()
            await until(lambda n=number: len([*self._directory.glob(f"*.at{n}")]) == processes)
            await asyncio.gather(
                *(self._attempt(f"round{number}", f"r{number}_{i}") for i in range(count))
            )

    async def mix(self) -> None:
        await asyncio.gather(*(self._endless(client) for client in range(CONCURRENCY)))

    async def _endless(self, client: int) -> None:
        for number in range(1_000_000):
            attempt = asyncio.create_task(self._attempt("mix", f"{client}_{number}", mixed=True))
            if random.random() < 0.1:  # noqa: S311 - no secret
                await asyncio.sleep(0)
                attempt.cancel()
            await asyncio.wait([attempt])

    async def _attempt(self, team: str, name: str, *, mixed: bool = False) -> None:
        charge = f"{self._name}_{name}.1"
        asked = intent(charge, team=team, bound_nano_usd=BOUND, opened_at_ms=unix_ms())
        streamed = mixed and random.random() < 0.5  # noqa: S311 - no secret
        made = call(at=STREAMED, stream=True) if streamed else call(at=AT)
        try:
            opened = await self._spending.open(made, asked)
        except BudgetExceeded:
            return
        os.write(self._log, f"served {team}\n".encode())
        cost = random.randint(0, BOUND // 5) if mixed else BOUND  # noqa: S311 - no secret
        try:
            await asyncio.sleep(random.choice((0, 0.001, 0.01)))  # noqa: S311 - no secret
            cost += await self._top_ups(opened)
        finally:
            await self._store.accounts.settle(
                settlement(charge, cost_nano_usd=cost, budgeted=opened.budgeted)
            )

    async def _top_ups(self, opened: Opened) -> int:
        """What a stream costs beside: a little of each part, up to all of the last."""
        if opened.reserve is None or opened.top_up is None:
            return 0
        before = opened.reserve.tokens
        for _ in range(random.randint(0, 5)):  # noqa: S311 - no secret
            if not await opened.top_up(opened.reserve.tokens + 1):
                break
            os.write(self._log, b"topped up\n")
            await asyncio.sleep(random.choice((0, 0.001)))  # noqa: S311 - no secret
        return random.randint(0, opened.reserve.tokens - before)  # noqa: S311 - no secret


async def main(directory: Path, name: str, what: str, *numbers: str) -> None:
    store = await Store.open(prepare(DATABASE, KEYS, directory), DATABASE, KEYS)
    worker = Worker(directory, name, store)
    if what == "rounds":
        await worker.rounds(*map(int, numbers))
        await store.close()
    else:
        await worker.mix()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
