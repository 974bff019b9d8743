"""A listed model: what does `GET /v1/models` say of one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.figures import INPUT, OUTPUT
from gateway.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One line. Prices are dollars per token as decimal text; None is unknown."""

    id: str
    owned_by: str
    context_window: int | None
    max_completion_tokens: int | None
    prompt_usd: str | None
    completion_usd: str | None

    @classmethod
    def of(cls, name: str, target: Target) -> ModelEntry:
        """The line for a model called `name` that `target` serves."""
        model, price = target.model, target.model.price
        return cls(
            id=name,
            owned_by=target.provider.name,
            context_window=model.context_window or model.max_prompt_tokens,
            max_completion_tokens=model.max_completion_tokens,
            prompt_usd=price.figure(INPUT) if price else None,
            completion_usd=price.figure(OUTPUT) if price else None,
        )

    def json(self) -> dict[str, Any]:
        """OpenAI's model object, and what the gateway knows besides.

        `created` is required by clients and known of no model.
        """
        pricing = {"prompt": self.prompt_usd, "completion": self.completion_usd}
        return {
            "id": self.id,
            "object": "model",
            "created": 0,
            "owned_by": self.owned_by,
            "context_window": self.context_window,
            "max_completion_tokens": self.max_completion_tokens,
            "pricing": None if self.prompt_usd is None else pricing,
        }
