"""Is what explain says what the call then does, and does it leave everything as it was?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import InvalidPrompt, ServerError, SluiceError
from gateway.exchange import JSON, Call, Handler, Reply
from gateway.store.budgetadmin import BudgetDraft
from gateway.store.keytable import KeyDraft
from tests.gateway_process import table
from tests.inprocess import REPLY, InProcess, in_process
from tests.redis_server import RedisServer, redis_server
from tests.snapshots import snapshot

PROMPT = "a prompt that no explanation may show"


def provider(name: str, *models: str, **more: Any) -> str:
    given = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1", "models": models}
    return table(f"providers.{name}", **given, api_key="env:FIRST_KEY", **more)


def model(name: str, usd: float | None = 1e-6, **more: Any) -> str:
    price = {"input_cost_per_token": usd, "output_cost_per_token": 2 * usd} if usd else {}
    return table(f'model_info."{name}"', price=price, max_completion_tokens=1000, **more)


CONFIG = "\n".join(
    [
        provider("a", "m", "n", "cheap", "dear", "small", "blind", "tight", "unpriced"),
        provider("b", "m", credentials={"second": "env:SECOND_KEY"}, rotate=["second"]),
        *(model(f"{name}") for name in ("a/m", "a/n", "a/tight", "b/m")),
        model("a/cheap", 1e-7),
        model("a/dear", 1e-4),
        model("a/blind", vision=False),
        model("a/unpriced", None),
        model("a/small", context_window=300),
        table("models.plain", targets=["a/m"]),
        table(
            "models.weighted",
            strategy="weighted",
            targets=[{"target": "a/m", "weight": 3.0}, {"target": "b/m", "weight": 2.0}, "a/n"],
        ),
        table("models.by_key", strategy="weighted", sticky="key", targets=["a/m", "a/n", "b/m"]),
        table("models.by_prompt", sticky="prompt", targets=["a/m", "a/n", "b/m"]),
        table("models.fast", strategy="lowest_latency", targets=["a/m", "a/n", "b/m"]),
        table("models.idle", strategy="least_busy", targets=["a/m", "a/n", "b/m"]),
        table("models.frugal", strategy="lowest_cost", targets=["a/dear", "a/cheap", "a/m"]),
        table("models.backed", targets=["a/m"], fallbacks=["weighted"], system="Be brief."),
        table("models.seeing", targets=["a/blind", "b/m"]),
        table("models.short", targets=["a/small"], context="oldest"),
        table("models.strict", targets=["a/small"], context="strict"),
        table("models.widening", targets=["a/small", "a/m"]),
        table("models.faq", strategy="weighted", targets=["a/m", "a/n"], cache_ttl_s=600.0),
        table("models.sparing", targets=["a/dear", "a/cheap"]),
        table("models.tight", targets=["a/tight", "a/m"]),
        table("database", commit_timeout_s=30.0),
        # So low that nothing runs off in Redis while a test looks at it.
        table("limits", key_rpm=20, team_tpm=4000),
        table('limits.targets."a/tight"', rpm=1),
        table("retry", base_s=0.001, hedge_percentile=90.0),
        table("health", consecutive_failures=2, bench_s=100.0),
        table("budgets", wait_s=0.0),
    ]
)
KEYS = [
    KeyDraft(name="plain", team="red"),
    KeyDraft(name="sealed", models=["faq"]),
    KeyDraft(name="scarce", settings={"rpm": 1}),
    KeyDraft(name="quiet", settings={"tpm": 20}),
    *(KeyDraft(name=name, team=name) for name in ("rich", "poor", "soft", "saver")),
    KeyDraft(name="clamped", team="clamped", settings={"clamp": True}),
]
BUDGETS = [
    BudgetDraft(
        scope="team",
        scope_value=team,
        period="month",
        zone="UTC",
        limit_nano_usd=nano_usd,
        hard=hard,
    )
    for team, nano_usd, hard in (
        ("rich", 10_000_000_000, True),
        ("poor", 1_000, True),
        ("soft", 1_000, False),
        ("saver", 10_000_000, True),
        ("clamped", 1_000_000, True),
    )
]


@dataclass
class Case:
    """One call, and what has to have happened before it."""

    name: str
    model: str = "plain"
    outcome: str = "provider"
    code: str | None = None  # of the error
    key: str = "plain"
    body: JSON = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    before: tuple[Case, ...] = ()
    running: bool = False  # the one before is still running
    failing: dict[str, SluiceError] = field(default_factory=dict)
    id: str = "call_1"

    def call(self, gateway: InProcess, *, dry_run: bool = False) -> Call:
        messages = [{"role": "user", "content": f"{PROMPT} {self.name}"}]
        body = {"model": self.model, "messages": messages, **self.body}
        return gateway.call(body, id=self.id, key=self.key, dry_run=dry_run, **self.headers)


TALK = [{"role": role, "content": "word " * 60} for role in ("user", "assistant") * 4]
TALK = [*TALK, {"role": "user", "content": f"{PROMPT}"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SEEN: JSON = {"messages": [{"role": "user", "content": [IMAGE]}]}
SAME: JSON = {"messages": [{"role": "user", "content": PROMPT}]}
STREAMED: JSON = {"stream": True, "stream_options": {"include_usage": True}}
KEPT = {"idempotency_key": "k"}
NO_CACHE = {"cache_control": "no-cache"}
LIMITED, CONFLICT = "rate_limit_exceeded", "idempotency_key_reused"


def after(**more: Any) -> tuple[Case]:
    """A call before, with the same messages."""
    return (Case("same", **{"id": "call_before", "body": SAME, **more}),)


LATER = Case("another entry", "faq", id="call_later")


CASES = [
    Case("plain"),
    Case("streamed", body=STREAMED),
    *(Case(f"weighted {n}", "weighted", id=f"call_{n}") for n in range(4)),
    Case("by key", "by_key"),
    Case("by prompt", "by_prompt"),
    *(Case(f"fast {n}", "fast", id=f"call_{n}", before=after()) for n in range(2)),
    Case("idle", "idle", id="call_7"),
    Case("frugal", "frugal"),
    Case("rotated", "b/m", id="call_3"),
    Case("backed", "backed"),
    Case("fails over", "backed", failing={"a/m": ServerError("x")}, id="call_5"),
    Case("passed over", "seeing", body=SEEN),
    Case("nobody sees", "a/blind", "refused", "capability_missing", body=SEEN),
    Case("widened", "widening", body={"messages": TALK}),
    Case("shortened", "short", body={"messages": TALK, "max_tokens": 100}),
    Case("too long", "strict", "refused", "context_length_exceeded", body={"messages": TALK}),
    Case(
        "benched",
        "weighted",
        before=after(model="a/m", failing={"a/m": ServerError("x")}),
        id="call_2",
    ),
    Case("missed", "faq"),
    Case("missed, streamed", "faq", body=STREAMED, key="sealed"),
    Case("hit", "faq", "cache", body=SAME, before=(*after(model="faq"), LATER)),
    Case("hit, streamed", "faq", "cache", body=SAME | STREAMED, before=after(model="faq")),
    Case("joined", "faq", "joined", body=SAME, before=after(model="faq"), running=True),
    Case(
        "not read",
        "faq",
        body=SAME,
        before=after(model="faq"),
        headers={"cache_control": "no-cache"},
    ),
    Case("not stored", "faq", headers={"cache_control": "no-store, no-cache"}),
    Case("cache off", "faq", headers={"x_sluice_cache": "off"}),
    Case("cache wrong", "faq", "refused", headers={"x_sluice_cache": "loud"}),
    Case("within limits", key="scarce"),
    Case(
        "over limits",
        "plain",
        "refused",
        "rate_limit_exceeded",
        "scarce",
        before=after(key="scarce"),
    ),
    Case("never", "plain", "refused", LIMITED, "quiet"),
    Case("target full", "tight", before=after(model="tight")),
    Case("within budget", key="rich"),
    Case("within budget, streamed", key="rich", body=STREAMED),
    Case("spent before", key="rich", before=after(key="rich")),
    Case("soft budget", key="soft"),
    Case("over budget", "plain", "refused", "insufficient_quota", "poor"),
    Case("over budget anywhere", "weighted", "refused", "insufficient_quota", "poor", id="call_4"),
    Case("cheaper", "sparing", key="saver"),
    Case("clamped", key="clamped"),
    Case("unpriced", "a/unpriced"),
    Case("unbounded", "a/unpriced", "refused", "cost_unbounded", "rich"),
    Case("claimed", headers=KEPT),
    Case("replayed", outcome="replayed", body=SAME, headers=KEPT, before=after(headers=KEPT)),
    Case(
        "replayed failure",
        outcome="replayed",
        code="invalid_prompt",
        body=SAME,
        headers=KEPT,
        before=after(headers=KEPT, failing={"a/m": InvalidPrompt("x", status=400)}),
    ),
    Case(
        "conflict",
        "plain",
        "refused",
        "idempotency_key_reused",
        headers=KEPT,
        before=after(headers=KEPT),
    ),
    Case(
        "attached",
        outcome="replayed",
        body=SAME,
        headers=KEPT,
        before=after(headers=KEPT),
        running=True,
    ),
    Case("unknown", "no-such-model", "refused", "model_not_found"),
    Case("not allowed", "plain", "refused", "model_not_allowed", "sealed"),
]


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
