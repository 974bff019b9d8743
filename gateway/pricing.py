"""Prices: what does a usage cost, to the nano-dollar?"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.usage import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost. Content-addressed: `digest` names exactly these figures."""

    digest: str

    def cost_nano_usd(self, usage: Usage) -> int:
        """The cost of `usage`, rounded once, half-even."""
        raise NotImplementedError

    def bound_nano_usd(self, prompt_tokens: int, completion_tokens: int) -> int:
        """An upper bound for a call with at most these counts, whatever kinds they turn out to be."""
        raise NotImplementedError
