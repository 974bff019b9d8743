"""Is what explain says what the call then does, and does it leave everything as it was?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import SluiceError
from gateway.exchange import JSON, Call, Handler, Reply
from tests.calls_of_all_kinds import BUDGETS, CASES, CONFIG, KEYS, PROMPT, Case
from tests.gateway_process import table
from tests.inprocess import REPLY, InProcess, in_process
from tests.redis_server import RedisServer, redis_server
from tests.snapshots import snapshot


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_KEY", "sk-upstream-secret-1")
    monkeypatch.setenv("SECOND_KEY", "sk-upstream-secret-2")
    monkeypatch.setattr("gateway.store.cachestats.FLUSH_S", 1e6)  # it counts calls, at its own time


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, CONFIG, KEYS, BUDGETS) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_call_does_what_was_explained(gateway: InProcess, case: Case) -> None:
    await _proved(gateway, case)


SHARED = [
    "plain",
    "weighted 1",
    "hit",
    "hit, streamed",
    "joined",
    "missed",
    "within limits",
    "over limits",
    "target full",
    "replayed",
]


@pytest.mark.parametrize("case", [c for c in CASES if c.name in SHARED], ids=lambda case: case.name)
async def test_with_redis_too(tmp_path: Path, server: RedisServer, case: Case) -> None:
    redis = table("redis", url=server.url, prefix=case.name.replace(" ", "-"), timeout_s=2.0)
    config = CONFIG + redis + table("cache", store="redis")
    async with in_process(tmp_path, config, KEYS, BUDGETS, redis_url=server.url) as gateway:
        await _proved(gateway, case)


@pytest.mark.parametrize(
    "case", [c for c in CASES if "hit" in c.name or "missed" in c.name], ids=lambda case: case.name
)
async def test_with_the_disk_too(tmp_path: Path, case: Case) -> None:
    config = CONFIG + table("cache", store="disk")
    async with in_process(tmp_path, config, KEYS, BUDGETS) as gateway:
        await _proved(gateway, case)


@pytest.mark.parametrize("store", ["disk", "redis"])
async def test_what_stands_behind_the_memory_is_not_taken_into_it(
    tmp_path: Path, server: RedisServer, store: str
) -> None:
    config = CONFIG + table("cache", store=store)
    config += table("redis", url=server.url, prefix=f"behind-{store}", timeout_s=2.0)
    (case,) = (case for case in CASES if case.name == "hit")
    async with in_process(tmp_path, config, KEYS, BUDGETS, redis_url=server.url) as gateway:
        await _proved(gateway, case, cold=True)


async def test_a_policy_that_declares_no_support_is_passed_by(tmp_path: Path) -> None:
    entry = '\n[[policies]]\nuse = "tests.test_explain:Counting"\n'
    async with in_process(tmp_path, CONFIG + entry, KEYS, BUDGETS) as gateway:
        before = Counting.calls
        explained = await gateway.explain(CASES[0].call(gateway, dry_run=True))
        assert explained["not_evaluated"] == ["Counting"]
        assert Counting.calls == before
        assert await gateway.make(CASES[0].call(gateway)) is None
    assert Counting.calls == before + 1


class Counting:
    """A third party's policy, of before there were explanations."""

    calls = 0

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        Counting.calls += 1
        return await call_next(call)


async def _proved(gateway: InProcess, case: Case, *, cold: bool = False) -> None:
    """Explain a call, see that nothing has changed, make it, and compare.

    With `cold` the memory of the cache is empty by then.
    """
    tasks = [await _begun(gateway, one, running=case.running) for one in case.before]
    if cold:
        await gateway.settled()
        gateway.forget()
    before = await snapshot(gateway)
    explained = await gateway.explain(case.call(gateway, dry_run=True))
    assert await snapshot(gateway) == before
    _tells_no_secret(gateway, explained)
    assert explained["outcome"]["kind"] == case.outcome
    assert explained["outcome"].get("error", {}).get("code") == case.code
    gateway.lane.failing = case.failing
    made = case.call(gateway)
    making = asyncio.create_task(gateway.make(made))
    if case.running and gateway.lane.gate is not None:
        await asyncio.sleep(0.05)  # it has joined
        gateway.lane.gate.set()
    error = await making
    await asyncio.gather(*tasks)
    row, charges = await gateway.row(made)
    facts = orjson.loads(row["facts"])
    assert _foreseeable(explained["facts"]) == _foreseeable(facts)
    _same_ending(explained, row, error)
    _same_attempts(explained, facts, charges)


async def _begun(gateway: InProcess, case: Case, *, running: bool) -> asyncio.Task[Any]:
    gateway.lane.failing = case.failing
    if running:
        gateway.lane.gate = asyncio.Event()
    task = asyncio.create_task(gateway.make(case.call(gateway)))
    await (gateway.lane.entered.wait() if running else task)
    gateway.lane.failing = {}
    return task


TIMES = {"at_us", "ms"}
# What is known when an attempt has been sent, or has been saved.
OF_THE_ENDING = {"paused", "stored", "not_kept"}


def _foreseeable(facts: list[JSON]) -> list[JSON]:
    """A row's facts as far as they do not depend on how the attempts went."""
    sent = next((n for n, fact in enumerate(facts) if fact["fact"] == "attempt_sent"), len(facts))
    coalesced = any(fact.get("status") == "coalesced" for fact in facts)
    left_out = OF_THE_ENDING | ({"saved"} if coalesced else set())
    return [
        {name: value for name, value in fact.items() if name not in TIMES}
        for fact in facts[:sent]
        if fact["fact"] not in left_out
    ]


def _same_ending(explained: JSON, row: JSON, error: SluiceError | None) -> None:
    outcome = explained["outcome"]
    if "error" in outcome:
        assert error is not None
        assert outcome["error"] == error.body()["error"]
        assert (outcome["status"], outcome["should_retry"]) == (error.status, error.should_retry)
        assert outcome["retry_after_s"] == error.retry_after_s
        assert row["status"] == outcome["status"]
        return
    assert (row["status"], error) == (200, None)
    if outcome["kind"] == "provider":
        started = [f for f in orjson.loads(row["facts"]) if f["fact"] == "attempt_started"]
        assert outcome["target"] in {fact["target"] for fact in started}
    else:
        assert row["attempts"] == 0


def _same_attempts(explained: JSON, facts: list[JSON], charges: list[JSON]) -> None:
    """Those that were made, in order, are those that were named; and held what was said."""
    named = [(a["target"], a["credential"]) for a in explained["attempts"]]
    started = [(f["target"], f["credential"]) for f in facts if f["fact"] == "attempt_started"]
    made = list(dict.fromkeys(started))
    assert made == named[: len(made)]
    for charge in charges:
        foreseen = next(
            (a for a in explained["attempts"] if a["number"] == charge["attempt"]), None
        )
        if foreseen is not None:
            held = foreseen["reserved_nano_usd"]
            assert charge["bound_nano_usd"] == (
                foreseen["worst_case_nano_usd"] if held is None else held
            )


def _tells_no_secret(gateway: InProcess, explained: JSON) -> None:
    text = orjson.dumps(explained).decode()
    for hidden in (PROMPT, REPLY, "sk-upstream", "Be brief", *gateway.secrets.values()):
        assert hidden not in text
