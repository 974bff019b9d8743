"""Calls of all kinds, for what has to hold of each: how do they end, and what comes before them?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.errors import InvalidPrompt, ServerError, SluiceError
from gateway.exchange import JSON, Call
from gateway.store.budgetadmin import BudgetDraft
from gateway.store.keytable import KeyDraft
from tests.gateway_process import table
from tests.inprocess import InProcess

PROMPT = "a prompt that no explanation may show"


def provider(name: str, *models: str, **more: Any) -> str:
    given = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1", "models": models}
    return table(f"providers.{name}", **given, api_key="env:FIRST_KEY", **more)


def model(name: str, usd: float | None = 1e-6, **more: Any) -> str:
    price = {"input_cost_per_token": usd, "output_cost_per_token": 2 * usd} if usd else {}
    return table(f'model_info."{name}"', price=price, max_completion_tokens=1000, **more)


CONFIG = "\n".join(
    [
        provider("a", "m", "n", "cheap", "dear", "small", "blind", "tight", "unpriced", "shown"),
        provider("b", "m", credentials={"second": "env:SECOND_KEY"}, rotate=["second"]),
        *(model(f"{name}") for name in ("a/m", "a/n", "a/tight", "b/m")),
        model("a/cheap", 1e-7),
        model("a/dear", 1e-4),
        model("a/blind", vision=False),
        model("a/shown", hidden_reasoning=False),
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
        table("budgets", wait_s=0.0, reserve_output_tokens=100),
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
    Case("within budget, to be topped up", "a/shown", key="rich", body=STREAMED),
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
