"""Configuration: what can be set, with which default?

`config.toml` maps onto these dataclasses: a table is a dataclass, a setting its field. The comment
of a field in `config.toml` and its row in `docs/configuration.md` are checked against this file.
`gateway.configfile` reads and checks the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.targets import Limits


class ConfigError(Exception):
    """The configuration cannot be used. One line per problem, and never a secret in any."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`[server]`: the listening side."""

    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int | None = None
    admin_host: str | None = None
    workers: int = 1
    max_body_bytes: int = 32 * 1024 * 1024
    first_heartbeat_s: float = 45.0
    heartbeat_s: float = 15.0
    drain_s: float = 30.0
    metrics: Literal["protected", "open"] = "protected"
    metrics_by_team: bool = False
    dashboard: bool = True
    log: Literal["json", "off"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """`[database]`: keys and the ledger."""

    url: str = "sqlite:data/sluice.db"
    synchronous: Literal["normal", "full"] = "normal"
    commit_timeout_s: float = 1.0
    lease_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """`[keys]`: virtual keys. `pepper` is `env:NAME` or `file:PATH`; a missing file is made."""

    pepper: str = "file:data/pepper"
    max_stale_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """`[encryption]`: the master key. Without `key` it is a file beside the database."""

    key: str | None = None
    old_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """`[calls]`: one call from end to end."""

    deadline_s: float = 600.0
    client_gone: Literal["cancel", "finish"] = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """`[retry.rules.KIND]`: what to do after an error of this kind.

    `same_target`: further attempts at the same target; `next_target`: may another one be tried?
    """

    same_target: int = 0
    next_target: bool = False


_TRANSIENT = RetryRule(same_target=2, next_target=True)
_ELSEWHERE = RetryRule(same_target=0, next_target=True)
_FINAL = RetryRule(same_target=0, next_target=False)

DEFAULT_RULES: Mapping[str, RetryRule] = {
    "connection": _TRANSIENT,
    "timeout": _TRANSIENT,
    "overloaded": _TRANSIENT,
    "server_error": _TRANSIENT,
    "response_parsing": _TRANSIENT,
    "tool_call": _TRANSIENT,
    "rate_limit": _TRANSIENT,  # the next target at once, when there is one
    "quota_exceeded": _ELSEWHERE,
    "authentication": _ELSEWHERE,
    "permission": _ELSEWHERE,
    "upstream_model_not_found": _ELSEWHERE,
    "invalid_configuration": _ELSEWHERE,
    "context_window": _ELSEWHERE,  # only where the window is larger
    "invalid_prompt": _FINAL,
    "content_filter": _FINAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`[retry]`: back-off is `base_s` · 2ⁿ with full jitter, at most `max_s`."""

    max_attempts: int = 6
    base_s: float = 0.25
    max_s: float = 8.0
    max_retry_after_s: float = 30.0
    min_attempt_s: float = 0.1
    budget_share: float = 0.2
    budget_least: int = 3
    hedge_percentile: float | None = None
    hedge_min_s: float = 0.1
    rules: Mapping[str, RetryRule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`[health]`: when a target or a credential is benched, and for how long."""

    consecutive_failures: int = 5
    error_share: float = 0.4
    min_attempts: int = 20
    window_s: float = 30.0
    bench_s: float = 5.0
    credential_bench_s: float = 60.0
    max_bench_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """`[providers.NAME]`: switched on when all that it names (`env:`, `file:`) is there."""

    kind: str
    lane: Literal["native", "library", "echo"] | None = None
    base_url: str | None = None
    api_key: str | None = None
    required: bool = False
    credentials: Mapping[str, str] = field(default_factory=dict)
    rotate: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    forward_headers: tuple[str, ...] = ("openai-beta", "traceparent", "tracestate")
    use_env_proxies: bool = False
    models: tuple[str, ...] = ()
    list_models: bool = False
    limits: Limits = Limits()


Strategy = Literal["order", "weighted", "least_busy", "lowest_latency", "lowest_cost"]
Sticky = Literal["no", "key", "prompt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasTarget:
    """One of an alias's targets, written as a table. Lower priorities come first."""

    target: str
    weight: float = 1.0
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """`[models.NAME]`: a name of your own for one or more targets, and how one is picked."""

    targets: tuple[str | AliasTarget, ...]
    strategy: Strategy = "order"
    sticky: Sticky = "no"
    fallbacks: tuple[str, ...] = ()
    fallback_on: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    context: Literal["lenient", "strict", "oldest", "middle"] | None = None
    cache_ttl_s: float | None = None

    @property
    def members(self) -> tuple[AliasTarget, ...]:
        """Its targets as tables; one that is a string alone has the defaults."""
        return tuple(AliasTarget(target=t) if isinstance(t, str) else t for t in self.targets)

    @property
    def names(self) -> tuple[str, ...]:
        """Its targets' canonical names."""
        return tuple(member.target for member in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """`[cache]`: where answers are kept for calls whose alias, key or caller wants that.

    `encrypt` is for disk and Redis; the memory is never sealed.
    """

    store: Literal["off", "memory", "disk", "redis"] = "memory"
    ttl_s: float = 3600.0
    max_bytes: int = 64 * 1024 * 1024
    max_disk_bytes: int = 1024 * 1024 * 1024
    max_entry_bytes: int = 4 * 1024 * 1024
    encrypt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """`[model_info."provider/model"]`: corrects or completes what litellm's table says.

    `price` holds litellm's names (`input_cost_per_token`, …) in dollars.
    """

    like: str | None = None
    context_window: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    tokenizer: Literal["o200k_base", "cl100k_base"] | None = None
    characters_per_token: float | None = None
    vision: bool | None = None
    audio: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    hidden_reasoning: bool | None = None
    max_image_tokens: int | None = None
    price: Mapping[str, float] = field(default_factory=dict)


Place = Literal[
    "Keys",
    "Ledger",
    "Idempotency",
    "Limits",
    "Route",
    "ContextWindow",
    "Cache",
    "Retry",
    "Account",
]
"""What a third-party policy can follow: our own, in the order of the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """`[idempotency]`: answers to requests with an `Idempotency-Key`, kept in the database."""

    enabled: bool = True
    keep_s: float = 86_400.0
    max_answer_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry:
    """`[[policies]]`: a third-party policy. `settings` are keyword arguments of its class."""

    use: str
    after: Place = "Route"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeting:
    """`[budgets]`: how limits on money are held. The budgets themselves are in the database."""

    wait_s: float = 1.0
    unbounded: Literal["refuse", "allow"] = "refuse"
    reserve_output_tokens: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """`[redis]`: what several processes share. `url` may be a reference."""

    url: str | None = None
    prefix: str = "sluice"
    timeout_s: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """`[limits.models.NAME]`: of one alias or model, for all its callers together.

    `[limits.targets.NAME]`: of a `provider/model`, or all of a `provider/*`, for all attempts.
    """

    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """`[limits]`: defaults of each key and each team. None and 0 are no limit."""

    key_rpm: int | None = None
    key_tpm: int | None = None
    key_concurrent: int | None = None
    team_rpm: int | None = None
    team_tpm: int | None = None
    team_concurrent: int | None = None
    expected_completion_tokens: int = 1000
    max_wait_s: float = 0.0
    max_waiting: int = 1000
    models: Mapping[str, ModelLimits] = field(default_factory=dict)
    targets: Mapping[str, ModelLimits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """`[telemetry]`: a collector of OpenTelemetry's. OpenTelemetry's own variables say the rest."""

    otlp_endpoint: str | None = None
    content: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`[context]`: prompts that no target's window holds, and how tokens are counted."""

    strategy: Literal["lenient", "strict", "oldest", "middle"] = "lenient"
    reserve_output_tokens: int = 1024
    characters_per_token: float = 3.0
    mixed_characters_per_token: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file."""

    server: Server = Server()
    database: Database = Database()
    keys: Keys = Keys()
    encryption: Encryption = Encryption()
    calls: Calls = Calls()
    retry: Retry = Retry()
    health: Health = Health()
    budgets: Budgeting = Budgeting()
    cache: Cache = Cache()
    providers: Mapping[str, Provider] = field(default_factory=dict)
    models: Mapping[str, Alias] = field(default_factory=dict)
    model_info: Mapping[str, ModelInfo] = field(default_factory=dict)
    context: Context = Context()
    redis: Redis = Redis()
    limits: RateLimits = RateLimits()
    idempotency: Idempotency = Idempotency()
    telemetry: Telemetry = Telemetry()
    policies: tuple[PolicyEntry, ...] = ()
