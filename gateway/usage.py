"""Usage: how many tokens, of which kind, and who says so?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["provider", "estimated", "partial"]
"""provider: the provider counted; estimated: we did; partial: they the prompt, we the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of one attempt.

    The kinds below `prompt_tokens` are parts of it, and those below `completion_tokens` of that:
    the totals already include them, as in OpenAI's `usage` object.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    prompt_audio_tokens: int = 0
    prompt_image_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    completion_audio_tokens: int = 0
    completion_image_tokens: int = 0
    service_tier: str | None = None
    source: Source = "provider"

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def _count(value: object) -> int:
    """A provider's count, or 0 where it sent null, a float of no sense, or nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(0, int(value))


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, Mapping) else {}


def usage_from_openai(body: object, service_tier: object = None) -> Usage | None:
    """The `usage` object of a completion or of a stream's last chunk; None where there is none.

    Besides OpenAI's fields it reads the ones that litellm adds for other providers:
    `cache_creation_input_tokens` / `cache_read_input_tokens` (Anthropic, Bedrock) and
    `cache_creation_token_details.ephemeral_1h_input_tokens`.
    """
    if not isinstance(body, Mapping) or "prompt_tokens" not in body:
        return None
    prompt = _details(body, "prompt_tokens_details")
    completion = _details(body, "completion_tokens_details")
    written = prompt.get("cache_creation_tokens") or body.get("cache_creation_input_tokens")
    lifetimes = _details(prompt, "cache_creation_token_details")
    return Usage(
        prompt_tokens=_count(body.get("prompt_tokens")),
        cached_tokens=_count(prompt.get("cached_tokens") or body.get("cache_read_input_tokens")),
        cache_write_tokens=_count(written),
        cache_write_1h_tokens=_count(lifetimes.get("ephemeral_1h_input_tokens")),
        prompt_audio_tokens=_count(prompt.get("audio_tokens")),
        prompt_image_tokens=_count(prompt.get("image_tokens")),
        completion_tokens=_count(body.get("completion_tokens")),
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
        completion_audio_tokens=_count(completion.get("audio_tokens")),
        completion_image_tokens=_count(completion.get("image_tokens")),
        service_tier=service_tier if isinstance(service_tier, str) else None,
    )
