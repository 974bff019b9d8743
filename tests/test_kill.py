"""Is every attempt in the ledger, once, however often the process is killed?

The gateway gets SIGKILL at random moments under load, streamed and unstreamed, with retries and
with clients that leave; then it is started again on the same database. SLUICE_KILL_ROUNDS makes
more rounds of it than the usual ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.callers import MODEL, PRICE, Callers, Provider, cost_of
from tests.fakes.upstream import Step, Upstream, sse_answer
from tests.gateway_process import FAKE_KEY, GatewayProcess, fake_provider, table
from tests.ledger_view import LedgerView, Row

ROUNDS = int(os.environ.get("SLUICE_KILL_ROUNDS", "10"))
LEASE_S = 2.0
SWEPT_WITHIN_S = LEASE_S + 8.0  # one second, and what a busy machine needs for the next start


def config(upstream: Upstream, database: str = "sqlite:data/sluice.db") -> str:
    return "\n".join(
        [
            table("server", drain_s=5.0, log="off"),
            table("database", lease_s=LEASE_S, url=database),
            table("retry", base_s=0.01),
            fake_provider(upstream, models=["m"]),
            table(f'model_info."{MODEL}"', price=PRICE),
        ]
    )


class Mortal:
    """A gateway that is killed and started again, and notes when it died."""

    def __init__(self, home: Path, upstream: Upstream) -> None:
        self._process = GatewayProcess(home, config(upstream), env={"FAKE_API_KEY": FAKE_KEY})
        self.ledger: LedgerView = self._process.ledger
        self.deaths_ms: list[int] = []

    async def live(self, callers: Callers, seconds: float) -> None:
        """Start, serve under load, and die in the middle of it."""
        gateway = await asyncio.to_thread(self._process.start)
        load = asyncio.create_task(callers.run(gateway.base_url, gateway.key))
        await asyncio.sleep(seconds)
        assert not load.done(), gateway.log()
        self._process.process.kill()
        self.deaths_ms.append(time.time_ns() // 1_000_000)
        await asyncio.to_thread(self._process.kill)
        await load

    async def recover(self) -> None:
        """Start once more; return when nothing is open any more."""
        await asyncio.to_thread(self._process.start)
        try:
            await self.ledger.until(_nothing_open)
        finally:
            await asyncio.to_thread(self._process.stop)


def _nothing_open(ledger: LedgerView) -> bool:
    return not ledger.query("SELECT 1 FROM charges WHERE state = 'open' LIMIT 1")


def charges_by_number(ledger: LedgerView) -> dict[int, list[Row]]:
    found = defaultdict(list)
    for charge in ledger.charges():
        (tag,) = json.loads(charge["tags"])
        found[int(tag)].append(charge)
    return found


@pytest.fixture(scope="module")
def seed() -> int:
    return random.SystemRandom().getrandbits(32)


async def test_no_attempt_is_lost_or_counted_twice_when_the_process_is_killed(
    tmp_path: Path, seed: int
) -> None:
    moments = random.Random(seed)  # noqa: S311
    provider, callers = Provider(), Callers()
    async with Upstream(provider) as upstream:
        gateway = Mortal(tmp_path, upstream)
        for _ in range(ROUNDS):
            await gateway.live(callers, moments.uniform(0.1, 0.7))
        await gateway.recover()
    charges = charges_by_number(gateway.ledger)
    check_served(provider, charges)
    check_sums(callers, charges)
    check_lost(gateway, callers, charges)
    check_calls(gateway.ledger)
    assert gateway.ledger.query("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def check_served(provider: Provider, charges: dict[int, list[Row]]) -> None:
    """Each attempt that the provider saw is one charge, numbered in order.

    Only a process that died between the intent and the request leaves one charge more; that the
    provider has not seen it cannot be known, so it is lost like one that it has.
    """
    assert len(provider.served) > 20 * ROUNDS, "there was no load to speak of"
    assert set(provider.served) <= set(charges)
    for number, rows in charges.items():
        assert [row["attempt"] for row in rows] == list(range(1, len(rows) + 1))
        assert len({row["call_id"] for row in rows}) == 1
        unseen = len(rows) - provider.served[number]
        assert unseen == 0 or (unseen == 1 and rows[-1]["state"] == "lost"), rows
    assert max(map(len, charges.values())) >= 2, "nothing was tried again"


def check_sums(callers: Callers, charges: dict[int, list[Row]]) -> None:
    """What a client has in full was settled before, exactly, whatever happened after."""
    assert len(callers.ended) > 10 * ROUNDS
    booked = billed = 0
    for number, (call_id, usage) in callers.ended.items():
        *failed, last = charges[number]
        assert last["call_id"] == call_id
        assert (last["state"], last["source"], last["error"]) == ("settled", "provider", None)
        assert {name: last[name] for name in ("prompt_tokens", "completion_tokens")} == {
            name: usage[name] for name in ("prompt_tokens", "completion_tokens")
        }
        assert [row["cost_nano_usd"] for row in failed] == [0] * len(failed)
        booked += last["cost_nano_usd"]
        billed += cost_of(usage)
    assert booked == billed > 0


def check_lost(gateway: Mortal, callers: Callers, charges: dict[int, list[Row]]) -> None:
    """What was open when a process died is charged at its worst case, soon."""
    lost = [row for rows in charges.values() for row in rows if row["state"] == "lost"]
    assert lost, "no process died in the middle of anything"
    for row in lost:
        (number,) = map(int, json.loads(row["tags"]))
        assert number in callers.broken
        assert row["cost_nano_usd"] == row["bound_nano_usd"] > 0
        assert row["error"] == "lost"
        died_ms = min(death for death in gateway.deaths_ms if death >= row["opened_at_ms"])
        assert row["settled_at_ms"] - died_ms < SWEPT_WITHIN_S * 1000
    others = {row["state"] for rows in charges.values() for row in rows} - {"lost"}
    assert others == {"settled"}


def check_calls(ledger: LedgerView) -> None:
    """Whatever was charged has its call, also where the process died before it was written."""
    orphans = ledger.query(
        "SELECT DISTINCT call_id FROM charges WHERE call_id NOT IN (SELECT call_id FROM calls)"
    )
    assert orphans == []
    assert ledger.query("SELECT * FROM processes") == []


async def test_a_surviving_process_sweeps_what_a_dead_one_left_open(tmp_path: Path) -> None:
    env = {"FAKE_API_KEY": FAKE_KEY}
    async with Upstream(sse_answer([Step.HANG])) as upstream:
        shared = f"sqlite:{tmp_path / 'one' / 'data' / 'sluice.db'}"
        pepper = table("keys", pepper=f"file:{tmp_path / 'one' / 'data' / 'pepper'}")
        homes = [tmp_path / "one", tmp_path / "other"]
        for home in homes:
            home.mkdir()
        doomed, survivor = (
            GatewayProcess(home, config(upstream, shared) + pepper, env=env) for home in homes
        )
        async with doomed, survivor:
            key, ledger = doomed.key, doomed.ledger
            calls = [
                asyncio.create_task(Callers().run(gateway.base_url, key))
                for gateway in (doomed, survivor)
            ]
            await ledger.until(lambda view: len(view.charges()) == 16)
            doomed.process.kill()
            died = time.monotonic()
            await ledger.until(lambda view: len(_in_state(view, "lost")) == 8)
            assert time.monotonic() - died < SWEPT_WITHIN_S
            assert len(_in_state(ledger, "open")) == 8, "the living one's charges were swept too"
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await ledger.until(_nothing_open)
        assert len(_in_state(ledger, "settled")) == 8


def _in_state(ledger: LedgerView, state: str) -> list[Row]:
    return [row for row in ledger.charges() if row["state"] == state]
