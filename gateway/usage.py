"""Usage: how many tokens, of which kind, and who says so?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from gateway.frozen import frozen

JSON = dict[str, Any]
Source = Literal["provider", "estimated", "partial"]
"""provider: the provider counted; estimated: we did; partial: they the prompt, we the rest."""


@frozen(kw_only=True)
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


def usage_from_openai(body: object, service_tier: object = None) -> Usage | None:
    """The `usage` object of a completion or of a stream's last chunk; None where there is none.

    Besides OpenAI's fields it reads the ones that litellm adds for other providers:
    `cache_creation_input_tokens` / `cache_read_input_tokens` (Anthropic, Bedrock) and
    `cache_creation_token_details.ephemeral_1h_input_tokens`; and DeepSeek's
    `prompt_cache_hit_tokens`.
    """
    if type(body) is not dict or "prompt_tokens" not in body:
        return None
    tier = service_tier if type(service_tier) is str else None
    plain = Usage(
        prompt_tokens=_count(body, "prompt_tokens"),
        completion_tokens=_count(body, "completion_tokens"),
        service_tier=tier,
    )
    return plain if len(body) <= _PLAIN_FIELDS else _with_kinds(plain, body)


_MOST = 10**12  # a count beyond it would not fit the ledger, or the sums over it
_PLAIN_FIELDS = 3  # prompt, completion, total


def _with_kinds(usage: Usage, body: JSON) -> Usage:
    prompt = _object(body, "prompt_tokens_details")
    completion = _object(body, "completion_tokens_details")
    lifetimes = _object(prompt, "cache_creation_token_details")
    return replace(
        usage,
        cached_tokens=_count(prompt, "cached_tokens")
        or _count(body, "cache_read_input_tokens")
        or _count(body, "prompt_cache_hit_tokens"),
        cache_write_tokens=_count(prompt, "cache_creation_tokens")
        or _count(body, "cache_creation_input_tokens"),
        cache_write_1h_tokens=_count(lifetimes, "ephemeral_1h_input_tokens"),
        prompt_audio_tokens=_count(prompt, "audio_tokens"),
        prompt_image_tokens=_count(prompt, "image_tokens"),
        reasoning_tokens=_count(completion, "reasoning_tokens"),
        completion_audio_tokens=_count(completion, "audio_tokens"),
        completion_image_tokens=_count(completion, "image_tokens"),
    )


def _count(fields: JSON, name: str) -> int:
    """A provider's count, within bounds, or 0 where it sent null, a word, or the like."""
    value = fields.get(name)
    if type(value) is not int:
        return min(max(0, int(value)), _MOST) if type(value) is float else 0
    return value if 0 < value <= _MOST else min(max(0, value), _MOST)


def _object(fields: JSON, name: str) -> JSON:
    value = fields.get(name)
    return value if type(value) is dict else {}
