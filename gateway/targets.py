"""Targets: one model at one provider, reached with one credential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.pricing import Price

LaneName = Literal["native", "library", "echo"]


@dataclass(frozen=True, slots=True)
class Credential:
    """What the gateway shows to a provider. `secret` is never printed, logged or sent to a client.

    `settings` are further secrets of a provider that needs more than one (AWS keys, for example),
    by litellm's parameter names.
    """

    name: str
    secret: str = field(repr=False, default="")
    settings: Mapping[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long one attempt may take, in seconds, and how much it may send, in bytes.

    `first_event_s` bounds the time until a stream's first event; `idle_s` the time between two
    reads after it; `total_s` the whole attempt, streamed or not.
    """

    connect_s: float = 5.0
    first_event_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0
    max_line_bytes: int = 4 * 1024 * 1024
    max_body_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider as configured. `kind` is litellm's provider name; `lane` says who speaks to it.

    `options` go to litellm as they are (`api_version`, `aws_region_name`, …).
    """

    name: str
    kind: str
    lane: LaneName
    base_url: str | None = None
    limits: Limits = Limits()
    headers: Mapping[str, str] = field(default_factory=dict)
    forward_headers: tuple[str, ...] = ()
    use_env_proxies: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEntry:
    """A provider that is switched on: its own credential, those that keys are bound to, its models.

    `rotated` names those of `named` that serve in turn with the default one.
    `models` are known without asking; with `list_models` its `/v1/models` is asked as well.
    """

    provider: Provider
    default: Credential
    named: Mapping[str, Credential] = field(default_factory=dict)
    rotated: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    list_models: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a provider's model. None means unknown, which forbids nothing.

    `context_window` is input and output together where the provider counts them so;
    `max_prompt_tokens` and `max_completion_tokens` are the provider's separate limits.
    `tokenizer` is the encoding that it counts with; without one, characters are counted.
    With `hidden_reasoning` it bills tokens that its answers do not show. `max_image_tokens` is the
    most that it counts for one image.
    """

    name: str
    context_window: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    vision: bool | None = None
    audio: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    hidden_reasoning: bool | None = None
    max_image_tokens: int | None = None
    tokenizer: str | None = None
    characters_per_token: float | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one attempt goes. `name` is canonical: `provider/model`.

    `params` and `system` are the alias's, joined to the caller's; `weight` and `priority` are the
    target's place in it. `spares` are further credentials that serve in turn. `fallback` names the
    other alias that it was borrowed from, and `fallback_on` the kinds of errors that lead there:
    none means all after which another target may be tried.
    """

    provider: Provider
    model: Model
    credential: Credential
    params: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    weight: float = 1.0
    priority: int = 0
    spares: tuple[Credential, ...] = ()
    fallback: str | None = None
    fallback_on: frozenset[str] = frozenset()
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Asked for several times a call, so made once.
        object.__setattr__(self, "name", f"{self.provider.name}/{self.model.name}")
